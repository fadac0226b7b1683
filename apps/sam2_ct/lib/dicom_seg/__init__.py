"""Results as DICOM Segmentation objects: names, codes and colours of segments, and the file."""
