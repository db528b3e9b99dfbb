//! Namespaces: for this process, and for each host.
//!
//! The chore starts itself again in a network, a mount and a process namespace of its own, so that all that it makes there (devices, mounts,
//! nodes) goes with it, however it ends. As somebody who is not root it asks for a user namespace, too.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use tappers::Interface;
use tappers::linux::Tun;

use super::switch::address;
use crate::run;

/// Set for the process in the namespaces.
const INSIDE: &str = "SYNCLINE_NET_INSIDE";
/// Where the kernel gives TUN devices.
const DEVICE: &str = "/dev/net/tun";

const NEEDS: &str = "`cargo xtask net` makes network namespaces with TUN devices: it needs Linux, `unshare` and `nsenter` (on \
                     Debian: apt install util-linux), `ip` (apt install iproute2), and to be root or that user namespaces are \
                     allowed and that everybody may open /dev/net/tun";

/// Whether this is the process in the namespaces.
pub(super) fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Whether this machine lets us make namespaces and devices; else why not.
pub(super) fn possible() -> Result<()> {
    open_device()?;
    // What `enter` and `host` do.
    let script = "mount -t tmpfs tmpfs /run && ip link set lo up && ip tuntap add dev try0 mode tun && ip netns add try \
                  && ip link set try0 netns try && nsenter --net=/run/netns/try true";
    let tried = unshare().args(["sh", "-uc", script]).output().context(NEEDS)?;
    ensure!(tried.status.success(), "{}: {NEEDS}", String::from_utf8_lossy(&tried.stderr).trim());
    Ok(())
}

fn open_device() -> Result<()> {
    let opened = std::fs::File::options().read(true).write(true).open(DEVICE);
    opened.with_context(|| format!("opening {DEVICE}: {NEEDS}")).map(|_| ())
}

/// Has a command run in namespaces of its own.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
}

/// Starts this program again with the same arguments, in namespaces, and waits for it.
pub(super) fn enter() -> Result<()> {
    open_device()?;
    let mut command = unshare();
    // A shell is the first process there: that one hears no interrupt, and all others end with it.
    let script = "mount -t tmpfs tmpfs /run && ip link set lo up || exit 77\n\"$@\"\nexit $?";
    command.args(["sh", "-uc", script, "sh"]).arg(std::env::current_exe().context("finding this program")?);
    let status = command.args(std::env::args_os().skip(1)).env(INSIDE, "1").status().context(NEEDS)?;
    match status.code() {
        Some(0) => Ok(()),
        Some(77) => bail!("the namespaces cannot be set up: {NEEDS}"),
        _ => bail!("the scenes did not pass ({status})"),
    }
}

/// Makes a host: a namespace whose only way out is the device that is returned.
pub(super) fn host(host: usize) -> Result<Tun> {
    let (space, device) = (name(host), format!("tun{host}"));
    if Path::new("/run/netns").join(&space).exists() {
        // Of hosts that were there before.
        ip(&["netns", "delete", &space])?;
    }
    let tun =
        Interface::new(&device).and_then(Tun::create_named).with_context(|| format!("making {device}: {NEEDS}"))?;
    tun.set_nonblocking(true).with_context(|| format!("setting up {device}"))?;
    let net = format!("{}/24", address(host));
    ip(&["netns", "add", &space])?;
    ip(&["link", "set", &device, "netns", &space])?;
    ip(&["-n", &space, "address", "add", &net, "dev", &device])?;
    ip(&["-n", &space, "link", "set", "lo", "up"])?;
    ip(&["-n", &space, "link", "set", &device, "up", "mtu", "1500"])?;
    Ok(tun)
}

/// What comes before a command to run it on a host.
pub(super) fn on(host: usize) -> Vec<String> {
    vec!["nsenter".to_owned(), format!("--net=/run/netns/{}", name(host))]
}

/// Mounts a small disk.
pub(super) fn small_disk(at: &Path, bytes: u64) -> Result<()> {
    std::fs::create_dir_all(at).with_context(|| format!("making {}", at.display()))?;
    let size = format!("size={bytes}");
    run::capture(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(at)).map(|_| ())
}

fn ip(words: &[&str]) -> Result<()> {
    let done = Command::new("ip").args(words).output().context(NEEDS)?;
    ensure!(done.status.success(), "ip {}: {}", words.join(" "), String::from_utf8_lossy(&done.stderr).trim());
    Ok(())
}

fn name(host: usize) -> String {
    format!("host{host}")
}
