//! [`private_folder`]: where a supervisor notes what it owns.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use nix::unistd::Uid;

/// Makes a folder that only this user can look into, with those above it, or
/// checks that it is one: in `/tmp` somebody else may have been first.
///
/// # Errors
///
/// If it can't be made, is a symlink, is somebody else's, or others can write to it.
pub fn private_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let data = fs::symlink_metadata(folder)?;
    if !data.is_dir() {
        return Err(io::Error::other("it is no folder: a symlink could lead to somebody else's"));
    }
    if data.uid() != Uid::effective().as_raw() || data.mode() & 0o022 != 0 {
        return Err(io::Error::other("it belongs to somebody else, or others can write to it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_others_can_reach_is_refused() {
        let place = tempfile::tempdir().expect("a folder is made");
        let folder = place.path().join("a/state");
        private_folder(&folder).expect("it is made");
        private_folder(&folder).expect("it is there already");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("it is opened");
        assert!(private_folder(&folder).is_err());
        let link = place.path().join("link");
        symlink(place.path().join("a"), &link).expect("a symlink is made");
        assert!(private_folder(&link).is_err());
    }
}
