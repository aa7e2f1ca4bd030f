"""What radiographs add to the engine: DICOM datasets, phantoms, the classifier and the SpineGAN loss."""
