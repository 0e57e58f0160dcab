"""Writing into a root that may come from anywhere: no link in it leads out of it."""

from pathlib import Path

from hive_supervisor.images.errors import BadTarball


def inside(root: Path, relative: str) -> Path:
    """`root/relative`; the folders above it are made where they are not. Raises `BadTarball` when one is a link."""
    path = root
    for part in Path(relative).parts:
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise BadTarball(f"/{path.relative_to(root)} is no directory in this root; hyperhive writes into it")
        path.mkdir(exist_ok=True)
        path /= part
    return path


def folder(root: Path, relative: str) -> Path:
    """The same of a directory, which is made too."""
    return inside(root, f"{relative}/-").parent


def write(root: Path, relative: str, text: str, *, mode: int = 0o644) -> None:
    """In place of whatever file or link was there."""
    path = inside(root, relative)
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(mode)


def link(root: Path, relative: str, to: str) -> None:
    path = inside(root, relative)
    path.unlink(missing_ok=True)
    path.symlink_to(to)


def read(root: Path, relative: str) -> str:
    """Empty when it is not there."""
    path = inside(root, relative)
    return "" if path.is_symlink() or not path.is_file() else path.read_text(errors="surrogateescape")
