//! Blobs in memory: kept for a time, and as long as there is a job that names them.

use std::collections::HashMap;

use bytes::Bytes;

use crate::BlobId;

#[derive(Debug)]
struct Blob {
    bytes: Bytes,
    until: u64,
    /// How many jobs name it.
    pins: u32,
}

#[derive(Debug, Default)]
pub(super) struct Blobs(HashMap<BlobId, Blob>);

impl Blobs {
    pub(super) fn put(&mut self, id: BlobId, bytes: Bytes, until: u64) {
        self.0.insert(id, Blob { bytes, until, pins: 0 });
    }

    pub(super) fn get(&self, id: BlobId, now: u64) -> Option<&Bytes> {
        let blob = self.0.get(&id)?;
        (blob.pins > 0 || blob.until > now).then_some(&blob.bytes)
    }

    pub(super) fn is_there(&self, id: BlobId, now: u64) -> bool {
        self.get(id, now).is_some()
    }

    pub(super) fn pin(&mut self, id: BlobId) {
        if let Some(blob) = self.0.get_mut(&id) {
            blob.pins += 1;
        }
    }

    /// A job that names it is gone: it is kept for the rest of its own time.
    pub(super) fn unpin(&mut self, id: BlobId) {
        if let Some(blob) = self.0.get_mut(&id) {
            blob.pins = blob.pins.saturating_sub(1);
        }
    }

    pub(super) fn remove(&mut self, id: BlobId) {
        self.0.remove(&id);
    }

    pub(super) fn sweep(&mut self, now: u64) {
        self.0.retain(|_, blob| blob.pins > 0 || blob.until > now);
    }
}
