use super::*;

#[test]
fn each_version_is_the_edit_that_its_name_says() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), Size { bytes: 3 << 20, overwrites: 5, append: 1000 }).unwrap();
    let [v0, v1, v2, v3] = VERSIONS.map(|(name, _)| fs::read(dir.path().join(name)).unwrap());
    assert_eq!(v0.len(), 3 << 20);
    assert_eq!(v1[1..], v0);
    assert_eq!(v2.len(), v1.len());
    let differing = v1.iter().zip(&v2).filter(|(old, new)| old != new).count();
    assert!((5 * 4000..=5 * OVERWRITE).contains(&differing), "{differing}");
    assert_eq!(v3[..v2.len()], v2);
    assert_eq!(v3.len(), v2.len() + 1000);
}

#[test]
fn same_compares_all_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two, three] = ["one", "two", "three"].map(|name| dir.path().join(name));
    let mut bytes = vec![7; PIECE + 10];
    fs::write(&one, &bytes).unwrap();
    fs::write(&two, &bytes).unwrap();
    bytes[PIECE + 5] = 8;
    fs::write(&three, &bytes).unwrap();
    assert!(same(&one, &two).unwrap());
    assert!(!same(&one, &three).unwrap());
}
