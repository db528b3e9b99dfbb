use std::sync::Arc;

use super::*;
use crate::backend::conformance;
use crate::backend::directory::Directory;

#[test]
fn every_way_keeps_the_contract() {
    for ways in [LINK, NO_REPLACE, LOCKED] {
        let directory = tempfile::tempdir().unwrap();
        let backend = Directory::with_naming(directory.path().join("store"), Naming::without(ways));
        conformance::check(&(Arc::new(backend) as Arc<dyn crate::Backend>));
    }
}

#[test]
fn a_name_is_given_once_whichever_way_each_takes() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let lock = || File::create(at("lock"));
    for (n, ways) in [LINK, NO_REPLACE, LOCKED].into_iter().enumerate() {
        let to = at(&format!("to{n}"));
        fs::write(at("first"), "first").unwrap();
        Naming::without(ways).give(&at("first"), &to, lock).unwrap();
        assert!(!at("first").exists());
        for other in [LINK, NO_REPLACE, LOCKED] {
            fs::write(at("second"), "second").unwrap();
            let refused = Naming::without(other).give(&at("second"), &to, lock).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read(&to).unwrap(), b"first");
        }
    }
}

#[test]
fn what_a_file_system_without_links_says_is_understood() {
    for code in [1, 22, 38, 95] {
        assert!(cfg!(not(target_os = "linux")) || is_unknown(&io::Error::from_raw_os_error(code)), "{code}");
    }
    for kind in [io::ErrorKind::AlreadyExists, io::ErrorKind::NotFound, io::ErrorKind::StorageFull] {
        assert!(!is_unknown(&kind.into()));
    }
    assert!(!is_unknown(&io::Error::from_raw_os_error(28)));
}
