//! What only the directory backend has to get right: its temporary files.

use std::time::SystemTime;

use super::*;

#[test]
fn a_temporary_file_that_is_open_is_not_cleaned_away() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (Directory::new(directory.path()), Directory::new(directory.path()));
    let upload = one.create("packs/1").unwrap();
    upload.write(&[Bytes::from_static(b"pushed, and then nothing for hours")]).unwrap();
    let tmp = directory.path().join("tmp");
    fs::write(tmp.join("left-by-a-killed-process"), b"half").unwrap();
    let left = || fs::read_dir(&tmp).unwrap().count();
    two.clean(60 * 60 * 1000).unwrap();
    assert_eq!(left(), 2, "a young file is gone");
    for entry in fs::read_dir(&tmp).unwrap() {
        let file = OpenOptions::new().write(true).open(entry.unwrap().path()).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }
    two.clean(60 * 60 * 1000).unwrap();
    assert_eq!(left(), 1);
    upload.publish().unwrap();
    drop(upload);
    assert_eq!(two.read("packs/1", 0..6).unwrap(), &b"pushed"[..]);
    assert_eq!(left(), 0);
}
