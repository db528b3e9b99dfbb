//! A disk that really is full: a small file system in memory, in a mount namespace of its own.

use std::process::Command;

use crate::support::{Dir, csv};

/// Runs in a shell whose directory `disk` is a file system of 6 MiB.
fn on_small_disk(dir: &Dir, script: &str) -> String {
    on_disk(dir, 6, script)
}

/// As [`on_small_disk`], of so many MiB.
fn on_disk(dir: &Dir, mib: u32, script: &str) -> String {
    std::fs::create_dir_all(dir.path("disk")).expect("a directory");
    let mount = format!("mount -t tmpfs -o size={mib}m none disk || exit 77\n");
    let mut shell = Command::new("unshare");
    shell.args(["--map-root-user", "--mount", "sh", "-euc", &format!("{mount}{script}")]);
    shell.current_dir(dir.path("")).env("SYNCLINE", env!("CARGO_BIN_EXE_syncline")).env("SYNCLINE_AUTHOR", "tester");
    let output = shell.output().expect("this test needs `unshare` (on Debian: apt install util-linux)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let refused = output.status.code() == Some(77) || text.starts_with("unshare: ");
    assert!(!refused, "this test mounts a small file system: run it as root or allow user namespaces\n{text}");
    assert!(output.status.success(), "{}\n{text}", output.status);
    text
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_and_keeps_what_is_there() {
    let dir = Dir::new();
    dir.write("small.csv", &csv(0, 2_000, 1));
    dir.write("large.csv", &csv(0, 150_000, 2));
    let script = r#"
        "$SYNCLINE" init disk/a
        head -c 4800000 /dev/zero > disk/ballast
        "$SYNCLINE" -C disk/a import small.csv --table t --key id -m first
        root=$("$SYNCLINE" -C disk/a root)
        code=0; "$SYNCLINE" -C disk/a import large.csv --table t -m large 2>why || code=$?
        test $code = 6
        grep -i "no space" why
        test "$("$SYNCLINE" -C disk/a root)" = "$root"
        "$SYNCLINE" -C disk/a verify --deep
        "$SYNCLINE" -C disk/a gc --grace 0s
        head -c 900000 /dev/urandom > disk/a/noise
        code=0; "$SYNCLINE" -C disk/a commit -m noise 2>why || code=$?
        test $code = 6
        grep -i "no space" why
        rm disk/a/noise disk/ballast
        "$SYNCLINE" -C disk/a gc --grace 0s
        "$SYNCLINE" -C disk/a import small.csv --table u --key id -m second
        "$SYNCLINE" -C disk/a verify --deep
        echo all done
    "#;
    let text = on_small_disk(&dir, script);
    assert!(text.contains("all done"), "{text}");
}

#[test]
fn a_checkout_that_does_not_fit_is_taken_back() {
    let dir = Dir::new();
    let script = r#"
        "$SYNCLINE" init disk/a
        cd disk/a
        echo small > keep; mkdir either; echo small > either/old; "$SYNCLINE" commit -m small
        "$SYNCLINE" branch small
        rm -r either; echo large > either; echo large > keep
        for n in 1 2 3; do head -c 1500000 /dev/zero > long$n; done
        "$SYNCLINE" commit -m large
        "$SYNCLINE" checkout small
        head -c 3000000 /dev/zero > ../ballast
        stuck() {
            code=0; "$SYNCLINE" checkout main 2>../why || code=$?
            test $code = 6
            grep -i "no space" ../why
        }
        is_small() {
            test "$(cat keep)" = small
            test "$(cat either/old)" = small
            test "$(ls | wc -l)" = 2
            "$SYNCLINE" status | grep "nothing to commit"
        }
        stuck
        "$SYNCLINE" status | grep "cannot be finished"
        "$SYNCLINE" gc --grace 0s
        "$SYNCLINE" checkout small
        is_small
        stuck
        echo edited > keep
        code=0; "$SYNCLINE" checkout small 2>../why || code=$?
        test $code = 6
        test "$(cat keep)" = edited
        "$SYNCLINE" checkout --force small
        is_small
        stuck
        rm ../ballast
        "$SYNCLINE" status | grep "nothing to commit"
        test "$(cat keep either)" = "$(printf 'large\nlarge')"
        "$SYNCLINE" verify --deep
        echo all done
    "#;
    let text = on_small_disk(&dir, script);
    assert!(text.contains("all done"), "{text}");
}

#[test]
fn a_file_that_does_not_fit_takes_its_rows_with_it() {
    let dir = Dir::new();
    let script = r#"
        "$SYNCLINE" init --bare disk/a
        head -c 30000000 /dev/urandom > large
        head -c 100000 /dev/urandom > small
        echo '{"id": 1}' | "$SYNCLINE" -C disk/a put --table t --key id --file small
        code=0; echo '{"id": 2}' | "$SYNCLINE" -C disk/a put --table t --file small=large --file new=small 2>why || code=$?
        test $code = 6
        grep -i "no space" why
        line='{"op":"set","table":"t","row":{"id":3}}'
        code=0; printf '%s\n{"op":"set","file":"new","from":"large"}\n' "$line" | "$SYNCLINE" -C disk/a apply 2>why || code=$?
        test $code = 6
        code=0; "$SYNCLINE" -C disk/a get --table t --key 2 || code=$?
        test $code = 3
        code=0; "$SYNCLINE" -C disk/a get --table t --key 3 || code=$?
        test $code = 3
        "$SYNCLINE" -C disk/a status | grep "1 transaction;"
        "$SYNCLINE" -C disk/a gc --grace 0s
        "$SYNCLINE" -C disk/a gc --grace 0s
        "$SYNCLINE" -C disk/a commit -m files
        "$SYNCLINE" clone disk/a copy
        test "$(ls copy)" = small
        cmp small copy/small
        echo '{"id": 2}' | "$SYNCLINE" -C disk/a put --table t --file new=small
        echo all done
    "#;
    // The log alone takes room for what is to come.
    let text = on_disk(&dir, 30, script);
    assert!(text.contains("all done"), "{text}");
}
