//! A real S3-compatible server for the tests of the object store backend.
//!
//! It is `moto`, installed from its Python package into a cache outside the source tree and started on a free loopback
//! port. Before any test trusts it, it has to show that it enforces `If-None-Match` and `If-Match`: a server that
//! ignores them would let every test of a lost race pass.
//!
//! Owns: the server process, ended on drop, and the cached environment, which any run may use again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use syncline_base::{Clock, SystemClock};

use crate::{run, tools};

/// Where tests find the server: `http://127.0.0.1:PORT`.
const ENDPOINT: &str = "SYNCLINE_TEST_S3";
/// The bucket that is there for them.
const BUCKET: (&str, &str) = ("SYNCLINE_TEST_S3_BUCKET", "syncline-test");
/// Known to enforce both headers on writes and on deletes.
const PACKAGE: &str = "moto[server]==5.2.5";

const INSTALL: &str = "the object store tests need the Python package `moto[server]`: install Python 3 with its `venv` \
                       module (on Debian: apt install python3-venv) and give pip a way to its package index; or start \
                       an S3-compatible server yourself and name it in SYNCLINE_TEST_S3";

/// A running server. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Server {
    process: Option<Child>,
    endpoint: String,
}

impl Server {
    /// Starts a server, or takes the one that `SYNCLINE_TEST_S3` names, and checks that it can be trusted.
    pub(crate) fn start() -> Result<Self> {
        if let Ok(endpoint) = std::env::var(ENDPOINT) {
            distrust(resolve(&endpoint)?)?;
            return Ok(Self { process: None, endpoint });
        }
        let program = install(&tools::cache()?).context(INSTALL)?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).context("finding a free port")?.port();
        let process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting moto_server")?;
        let server = Self { process: Some(process), endpoint: format!("http://127.0.0.1:{port}") };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait(address)?;
        distrust(address)?;
        Ok(server)
    }

    /// Tells a command where the server is.
    pub(crate) fn tell(&self, command: &mut Command) {
        command.env(ENDPOINT, &self.endpoint).env(BUCKET.0, BUCKET.1);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // It may be gone already; there is nothing more to do then.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Makes sure that the package is in the cache, and returns its program. The environment gets its name only when it is
/// complete, so an interrupted installation is never used.
fn install(cache: &Path) -> Result<PathBuf> {
    let version = PACKAGE.rsplit('=').next().unwrap_or_default();
    let place = cache.join(format!("moto-{version}"));
    let program = place.join("bin/moto_server");
    let ready = place.join("ready");
    if ready.exists() {
        return Ok(program);
    }
    eprintln!("installing {PACKAGE} into {}", place.display());
    std::fs::create_dir_all(cache).with_context(|| format!("creating {}", cache.display()))?;
    run::capture(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&place))?;
    let python = place.join("bin/python");
    run::capture(Command::new(python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        PACKAGE,
    ]))?;
    std::fs::write(&ready, "").with_context(|| format!("writing {}", ready.display()))?;
    Ok(program)
}

/// The address behind `http://host:port`.
fn resolve(endpoint: &str) -> Result<SocketAddr> {
    let wanted = || format!("{ENDPOINT} is `{endpoint}`, wanted http://HOST:PORT");
    let name = endpoint.strip_prefix("http://").with_context(wanted)?.trim_end_matches('/');
    name.to_socket_addrs().with_context(wanted)?.next().with_context(wanted)
}

/// Waits until the server answers.
fn wait(address: SocketAddr) -> Result<()> {
    let deadline = SystemClock.monotonic() + Duration::from_secs(60);
    while request(address, "GET", "/", &[], b"").is_err() {
        ensure!(SystemClock.monotonic() < deadline, "the S3-compatible server on {address} did not answer within 60 s");
        SystemClock.sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Creates the bucket and shows that conditional writes are conditional.
fn distrust(address: SocketAddr) -> Result<()> {
    let name = format!("/{}/probe", BUCKET.1);
    let expect = |what: &str, status: u16, wanted: &[u16]| -> Result<()> {
        ensure!(wanted.contains(&status), "{what} on the S3-compatible server gave HTTP {status}, wanted {wanted:?}");
        Ok(())
    };
    let put = |headers: &[(&str, &str)], body: &[u8]| request(address, "PUT", &name, headers, body);
    expect("creating a bucket", request(address, "PUT", &format!("/{}", BUCKET.1), &[], b"")?.status, &[200, 409])?;
    let first = put(&[("If-None-Match", "*")], b"one")?;
    expect("the first write with If-None-Match", first.status, &[200])?;
    expect("a second write with If-None-Match", put(&[("If-None-Match", "*")], b"two")?.status, &[409, 412])?;
    let etag = first.etag.context("the S3-compatible server gave no ETag")?;
    expect("a write with the right If-Match", put(&[("If-Match", &etag)], b"three")?.status, &[200])?;
    expect("a write with an old If-Match", put(&[("If-Match", &etag)], b"four")?.status, &[409, 412])?;
    let now = request(address, "GET", &name, &[], b"")?;
    if now.body != b"three" {
        bail!("the S3-compatible server refused a write and made it all the same");
    }
    expect("removing the probe", request(address, "DELETE", &name, &[], b"")?.status, &[204])
}

struct Response {
    status: u16,
    etag: Option<String>,
    body: Vec<u8>,
}

/// One HTTP/1.1 request on a connection of its own: all that the probe needs.
fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).context("connecting")?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).context("setting a time limit")?;
    // Any signature will do: the server reads the region from it and believes the rest.
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\nAuthorization: \
         AWS4-HMAC-SHA256 Credential=test/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).context("sending")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("reading the answer")?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Result<Response> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").context("the answer has no end of its head")?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).context("no status line")?;
    let etag = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("etag").then(|| value.trim().to_owned())
    });
    Ok(Response { status, etag, body: answer[end + 4..].to_vec() })
}

#[cfg(test)]
mod tests;
