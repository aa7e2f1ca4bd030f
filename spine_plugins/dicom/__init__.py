"""From DICOM radiographs to a data set: read, frame, window, label, de-identify, pack, report."""
