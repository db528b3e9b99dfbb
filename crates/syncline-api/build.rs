//! Generates the gRPC types from `proto/` without any outside tool.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = "proto/syncline/v1/node.proto";
    println!("cargo::rerun-if-changed={file}");
    let descriptors = protox::compile([file], ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".")
        .server_mod_attribute(".", "#[allow(missing_docs, clippy::all, clippy::pedantic)]")
        .client_mod_attribute(".", "#[allow(missing_docs, clippy::all, clippy::pedantic)]")
        .compile_fds(descriptors)?;
    Ok(())
}
