//! Bytes kept under their digest, for payloads too large for a message.

use contracts::canonical::Digest;

use crate::Unavailable;

/// The most bytes of one object: what a service can hold several of in memory at once.
pub const OBJECT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The bytes of one stored piece: half the broker's limit for a message.
pub(crate) const PIECE_BYTES: usize = 512 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("it has {bytes} bytes, and at most {OBJECT_BYTES_MAX} are kept")]
    TooLarge { bytes: usize },
    #[error("there is no object with the digest `{0}`")]
    Missing(Digest),
    #[error("what is stored under `{0}` does not have that digest")]
    Corrupt(Digest),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}
