//! Bytes under their digest, in pieces of one message each: `cp.object.<sha256>.<piece>`. Each
//! subject is written once, so putting again adds only what is missing.

use bytes::{Bytes, BytesMut};
use contracts::canonical::Digest;

use super::{
    JetStreamJournal,
    append::{SUBJECT_TAKEN, publish},
    direct::{Answer, READ_PATIENCE},
    link::patiently,
};
use crate::{
    layout::OBJECTS,
    object::{OBJECT_BYTES_MAX, ObjectError, PIECE_BYTES},
    stored::Kept,
};

impl JetStreamJournal {
    pub(super) async fn put(&self, bytes: Bytes) -> Result<Digest, ObjectError> {
        if bytes.len() > OBJECT_BYTES_MAX {
            return Err(ObjectError::TooLarge { bytes: bytes.len() });
        }
        let digest = Digest::of(&bytes);
        let mut was_there = false;
        for (index, start) in (0..bytes.len().max(1)).step_by(PIECE_BYTES).enumerate() {
            let piece = bytes.slice(start..bytes.len().min(start + PIECE_BYTES));
            let subject = piece_subject(&digest, index);
            let stored = patiently(self.append_deadline, || async {
                match publish(&self.link, &subject, &[], piece.clone()).await {
                    Err(error) if error.api_code() == Some(SUBJECT_TAKEN) => Ok(None),
                    stored => stored.map(Some),
                }
            });
            was_there |= stored.await?.is_none();
        }
        if was_there {
            // The same refusal stands for a full disk, and someone may have put other bytes there.
            self.get(&digest).await?;
        }
        Ok(digest)
    }

    pub(super) async fn get(&self, digest: &Digest) -> Result<Bytes, ObjectError> {
        let nearest = self.pieces_nearby(digest).await?;
        if Digest::of(&nearest) == *digest {
            return Ok(nearest);
        }
        // A replica may lag behind; the leader does not.
        match self.pieces_of_leader(digest).await? {
            None => Err(ObjectError::Missing(*digest)),
            Some(bytes) if Digest::of(&bytes) == *digest => Ok(bytes),
            Some(_) => Err(ObjectError::Corrupt(*digest)),
        }
    }

    async fn pieces_nearby(&self, digest: &Digest) -> Result<Bytes, ObjectError> {
        /// Pieces asked for at once: 8 MiB.
        const PAGE: usize = 16;
        let mut bytes = BytesMut::new();
        let mut next = 0;
        loop {
            let page: Vec<_> = (next..next + PAGE)
                .map(|index| piece_subject(digest, index))
                .collect();
            let Answer::Messages { mut messages, .. } = self.newest(OBJECTS, &page).await? else {
                return Ok(bytes.freeze());
            };
            let received = messages.len();
            // Pieces added later by someone who found some missing have later sequences.
            messages.sort_by_cached_key(|found| found.raw.subject.clone());
            for Kept { raw, .. } in messages {
                bytes.extend_from_slice(&raw.payload);
            }
            next += received;
            if received == 0 || bytes.len() > OBJECT_BYTES_MAX {
                return Ok(bytes.freeze());
            }
        }
    }

    async fn pieces_of_leader(&self, digest: &Digest) -> Result<Option<Bytes>, ObjectError> {
        let mut bytes = BytesMut::new();
        for index in 0.. {
            let subject = piece_subject(digest, index);
            let piece = patiently(READ_PATIENCE, || self.last_message(OBJECTS, &subject)).await?;
            match piece {
                Some((_, raw)) if bytes.len() <= OBJECT_BYTES_MAX => {
                    bytes.extend_from_slice(&raw.payload);
                }
                Some(_) | None if index == 0 => return Ok(None),
                Some(_) | None => break,
            }
        }
        Ok(Some(bytes.freeze()))
    }
}

/// Four digits, so that the order of the subjects is that of the pieces.
fn piece_subject(digest: &Digest, index: usize) -> String {
    format!("cp.object.{digest}.{index:04}")
}
