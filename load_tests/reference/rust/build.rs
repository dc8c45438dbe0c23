//! Generates the messages from the descriptor set that the Python server loads, so no protoc is needed.

use prost::Message;
use prost_types::FileDescriptorSet;

const DESCRIPTORS: &str = "../../../authz_server/envoy/ext_authz.binpb";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed={DESCRIPTORS}");
    let descriptors = FileDescriptorSet::decode(&*std::fs::read(DESCRIPTORS)?)?;
    tonic_prost_build::configure()
        .build_client(false)
        .include_file("protos.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
