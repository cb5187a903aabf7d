//! SETUP and GOAWAY. MOQT-14 §9.3, §9.4.

use super::super::params;
use super::{FieldReader, FieldWriter};
use crate::moqt::error::{DecodeError, EncodeError};
use crate::moqt::message::{ClientSetup, ServerSetup};
use bytes::Bytes;

/// Most bytes of a GOAWAY URI. MOQT-14 §9.4 [D14-VAL-11].
const MAX_URI_BYTES: usize = 8192;

pub(super) fn read_client_setup(r: &mut FieldReader<'_>) -> Result<ClientSetup, DecodeError> {
    // The declared count reserves nothing; the message ends the loop.
    let count = r.varint()?;
    let mut versions = Vec::new();
    for _ in 0..count {
        // MOQT-14 §9.3.1 [D14-SETUP-11]: numbers of versions we do not know are kept.
        versions.push(r.varint()?);
    }
    let params = params::read_setup(r)?;
    Ok(ClientSetup { versions, params })
}

pub(super) fn write_client_setup(setup: &ClientSetup, w: &mut FieldWriter<'_>) -> Result<(), EncodeError> {
    w.varint(setup.versions.len() as u64)?;
    setup.versions.iter().try_for_each(|&version| w.varint(version))?;
    params::write_setup(&setup.params, w)
}

pub(super) fn read_server_setup(r: &mut FieldReader<'_>) -> Result<ServerSetup, DecodeError> {
    let version = r.varint()?;
    let params = params::read_setup(r)?;
    Ok(ServerSetup { version, params })
}

pub(super) fn write_server_setup(setup: &ServerSetup, w: &mut FieldWriter<'_>) -> Result<(), EncodeError> {
    w.varint(setup.version)?;
    params::write_setup(&setup.params, w)
}

pub(super) fn read_goaway(r: &mut FieldReader<'_>) -> Result<Bytes, DecodeError> {
    r.string(MAX_URI_BYTES)
}

pub(super) fn write_goaway(uri: &Bytes, w: &mut FieldWriter<'_>) -> Result<(), EncodeError> {
    if uri.len() > MAX_URI_BYTES {
        return Err(EncodeError::UriTooLong(uri.len()));
    }
    w.string(uri)
}
