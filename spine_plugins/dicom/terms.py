"""The words of a header that may be told: the standard's own terms, and `other` for everything else.

A code string is free text for whoever types it: `DOE JOHN 1933` has its form, too. So it is looked up, never
matched against a form, and what is not found here ends in the worker that read it.
"""

from __future__ import annotations

OTHER = "other"

# Defined terms of Modality, PS3.3 C.7.3.1.1.1, and the retired ones that archives still hold.
MODALITIES = frozenset(
    """
    ANN AR ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DG DMS DOC DX ECG EEG EMG EOG EPS ES FID GM HC HD IO
    IOL IVOCT IVUS KER KO LEN LS M3D MG MR NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT
    PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF
    STAIN TEXTUREMAP TG US VA XA XAPROTOCOL XC
    AS CD CF CP CS DD DF DM DS EC FA FS LP MA MS OPR ST TEE VF
    """.split()
)

# Body Part Examined, PS3.16 Annex L.
BODY_PARTS = frozenset(
    """
    ABDOMEN ABDOMENPELVIS ADRENAL ANKLE ANUS AORTA ARM ASCAORTA AXILLA BACK BILEDUCT BLADDER BRACHIALA BRAIN
    BREAST BRONCHUS BUTTOCK CALCANEUS CALF CAROTID CCA CEREBELLUM CERVIX CHEEK CHEST CHESTABDOMEN
    CHESTABDPELVIS CIRCLEOFWILLIS CLAVICLE COCCYX COLON CORNEA CORONARYARTERY CSPINE CTSPINE DESCAORTA
    DUODENUM EAR ELBOW ESOPHAGUS EXTREMITY EYE EYELID FACE FEMORALA FEMUR FINGER FOOT FOREARM
    FOREFOOT GALLBLADDER GROIN HAND HEAD HEADNECK HEART HINDFOOT HIP HUMERUS IAC ILEUM ILIUM JAW JEJUNUM
    KIDNEY KNEE LARYNX LEG LIVER LSPINE LSSPINE LUMBARARTERY LUNG MANDIBLE MAXILLA MEDIASTINUM MOUTH NECK
    NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV NOSE ORBIT OVARY PANCREAS PARATHYROID
    PAROTID PATELLA PELVIS PENIS PHARYNX PROSTATE PULMONARYARTERY RADIUS RADIUSULNA RECTUM RENALARTERY RIB
    SACRUM SCALP SCAPULA SCLERA SCROTUM SELLA SHOULDER SIJOINT SINUS SKULL SPINE SPLEEN SSPINE STERNUM STOMACH
    SUBMANDIBULAR TARSALJOINT TESTIS THIGH THORACICAORTA THUMB THYMUS THYROID TIBIAFIBULA TLSPINE TMJOINT
    TOE TOENAILS TONGUE TRACHEA TSPINE ULNA UMBILICAL UPPERARM URETER URETHRA UTERUS VAGINA VULVA WHOLEBODY
    WRIST ZYGOMA
    """.split()
)

# Photometric Interpretation, PS3.3 C.7.6.3.1.2, with the retired ones.
PHOTOMETRIC = frozenset(
    {
        "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422",
        "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT", "XYB", "HSV", "ARGB", "CMYK",
    }
)  # fmt: skip


def code(value: object) -> str:
    """A code string as it is compared: stays in the worker, unless `term` lets it pass."""
    return str(value or "").strip().upper()


def term(value: object, terms: frozenset[str]) -> str:
    """One of the terms, `other`, or nothing where there is nothing."""
    text = code(value)
    return text if text in terms or not text else OTHER


def transfer_syntax(value: object) -> str:
    """The UID of a transfer syntax that the standard or pydicom knows, `other`, or nothing."""
    from pydicom.uid import UID_dictionary  # loaded when files are read, not for --help

    text = str(value or "").strip("\0 ")
    known = UID_dictionary.get(text)
    return text if known is not None and known[1] == "Transfer Syntax" or not text else OTHER
