"""Convert DICOM radiographs into a data set; see spine_plugins/dicom."""

from spine_plugins.dicom.command import main

if __name__ == "__main__":
    main(prog_name="dataset_tool_dicom.py")
