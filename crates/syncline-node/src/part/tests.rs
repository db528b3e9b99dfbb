use super::*;

fn part(paths: &[&str]) -> Part {
    let paths = Some(paths.iter().map(|text| (*text).to_owned()).collect());
    Part::of(Some(&Scope { tables: None, paths })).expect("good patterns")
}

#[test]
fn patterns_are_those_of_gitignore() {
    let images = part(&["images/**", "*.json", "!images/raw/**", "/top"]);
    for (path, held) in [
        ("images/a.png", true),
        ("images/deep/er/a.png", true),
        ("images/raw/a.png", false),
        ("deep/er/x.json", true),
        ("image", false),
        ("other/images/a.png", false),
        ("top/x", true),
        ("deep/top", false),
    ] {
        assert_eq!(images.path(path), held, "{path}");
    }
    assert!(!part(&[]).path("a"), "no pattern is no file");
    assert!(Part::default().path("a"), "no scope is every file");
}

#[test]
fn bad_patterns_are_named() {
    for bad in ["", "# note"] {
        let scope = Scope { tables: None, paths: Some(vec![bad.into()]) };
        let error = Part::of(Some(&scope)).expect_err("it is no pattern");
        assert!(error.to_string().contains("pattern"), "{error}");
    }
}

#[test]
fn a_tree_that_is_not_here_is_refused_by_name() {
    let scope = Scope { tables: Some(["t".to_owned()].into()), paths: None };
    let part = Part::of(Some(&scope)).expect("a scope");
    part.check(&TreeName::Table("t".into())).expect("it is here");
    let error = part.check(&TreeName::Files).expect_err("files were not asked for");
    assert!(error.to_string().contains("\"t\""), "{error}");
}
