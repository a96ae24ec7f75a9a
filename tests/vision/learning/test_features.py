from pathlib import Path

from mmgic.vision.learning.features import list_images


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    folder = tmp_path / ".data"  # the folder itself may be called anything
    names = ["a.jpg", "b/c.PNG", "._a.jpg", "__MACOSX/b/._c.PNG", "b/.cache/d.jpg"]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert sorted(list_images(str(folder))) == [str(folder / name) for name in names[:2]]
