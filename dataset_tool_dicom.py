"""Convert DICOM radiographs into a data set; see spine_plugins/dicom."""

if __name__ == "__main__":
    import stylegan2ada.as_script  # noqa: F401 - before the heavy imports

from spine_plugins.dicom.command import main  # noqa: E402

if __name__ == "__main__":
    main(prog_name="dataset_tool_dicom.py")
