use super::*;

#[test]
fn the_newest_version_is_not_the_last_by_name() {
    let paths = ["/v/9", "/v/15", "/v/old", "/v/17", "/v/16"].map(PathBuf::from);
    assert_eq!(newest(paths.into_iter()), Some(PathBuf::from("/v/17")));
    assert_eq!(newest([PathBuf::from("/v/old")].into_iter()), None);
}

#[test]
fn a_place_in_the_cache_is_there_only_when_it_is_complete() {
    let cache = tempfile::tempdir().expect("a temporary directory");
    let place = cache.path().join("deep/place");
    let failed = once(&place, |half| {
        fs::write(half.join("a"), "1")?;
        anyhow::bail!("the network has gone")
    });
    assert!(failed.is_err() && !place.exists());
    once(&place, |half| Ok(fs::write(half.join("a"), "2")?)).expect("it can be filled");
    assert_eq!(fs::read_to_string(place.join("a")).expect("it is there"), "2");
    assert_eq!(fs::read_dir(cache.path().join("deep")).expect("a directory").count(), 1, "nothing else is left");
}

#[test]
fn who_is_no_server_is_not_looked_for() {
    assert!(find("rsync", Path::new("/nowhere")).is_none());
}
