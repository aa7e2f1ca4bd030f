"""Train on radiographs: all options of train.py, plus the classifier's loss and the paper's presets."""

from spine_plugins.training.command import main

if __name__ == "__main__":
    main()
