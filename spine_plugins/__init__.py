"""What radiographs add to the engine: DICOM datasets, phantoms, the classifier and the SpineGAN loss.

Importing this package only registers names; what they stand for is imported when it is chosen.
"""

from stylegan2ada.losses.registry import register_loss, register_term

register_loss("spine", "spine_plugins.losses.spine:SpineGANLoss")
register_term("spine", "spine_plugins.losses.spine:SpineTerm")
