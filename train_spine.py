"""Train on radiographs: all options of train.py, plus the classifier's loss and the paper's presets."""

if __name__ == "__main__":
    import stylegan2ada.as_script  # noqa: F401 - before the heavy imports

from spine_plugins.training.command import main  # noqa: E402

if __name__ == "__main__":
    main()
