//! What the file system says about a path.

use rustix::fs::FileType;
use syncline_tree::files::FileKind;

/// Equal stats, the second of them taken when a change would have shown, mean equal content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub kind: FileKind,
    /// Whether the owner may execute it; only files.
    pub executable: bool,
    /// In bytes; 0 for folders.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime: i64,
    /// Nanoseconds since 1970. Programs cannot set it, so it catches files whose time of change was put back.
    pub ctime: i64,
    pub inode: u64,
}

impl Stat {
    /// From what the system says; `None` for what is no file, link or folder.
    pub(crate) fn of(stat: &rustix::fs::Stat) -> Option<Self> {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => FileKind::File,
            FileType::Symlink => FileKind::Symlink,
            FileType::Directory => FileKind::Folder,
            _ => return None,
        };
        Some(Self {
            kind,
            executable: kind == FileKind::File && stat.st_mode & 0o100 != 0,
            size: if kind == FileKind::Folder { 0 } else { u64::try_from(stat.st_size).unwrap_or(0) },
            mtime: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            ctime: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
            inode: stat.st_ino,
        })
    }

    /// When it last changed in any way.
    pub(crate) fn changed(&self) -> i64 {
        self.mtime.max(self.ctime)
    }
}

fn nanoseconds(seconds: i64, rest: impl TryInto<i64>) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest.try_into().unwrap_or(0))
}
