//! Unpacks `additional_files`: a zip archive that hostile people have made.
//!
//! Only what is needed is read: stored and deflated files of the central
//! directory, each up to a cap that is held while it is inflated.

use std::io::Read;

use bytes::Bytes;
use evalx_core::{SandboxPath, SourceFile};
use flate2::read::DeflateDecoder;

/// The largest file, and all of them together.
const MOST_OF_ONE: u64 = 10_240 * 1024;
const MOST_OF_ALL: u64 = 24 << 20;
/// The most files.
const MOST_FILES: usize = 1000;

const END: &[u8] = b"PK\x05\x06";
const ENTRY: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";

/// The files of an archive, in its order. Folders are implied.
///
/// # Errors
///
/// What is wrong with it, and what is allowed.
pub(super) fn unpack(archive: &[u8]) -> Result<Vec<SourceFile>, &'static str> {
    let end = archive.windows(END.len()).rposition(|window| window == END).ok_or("is not a zip archive")?;
    let count = usize::from(short(archive, end + 10)?);
    let mut at = long(archive, end + 16)? as usize;
    if count > MOST_FILES {
        return Err("has too many files (maximum is 1000)");
    }
    let mut files = Vec::new();
    // Entries that share their data would make much of little.
    let (mut room, mut data) = (MOST_OF_ALL, archive.len());
    for _ in 0..count {
        if part(archive, at, 4)? != ENTRY {
            return Err("is a broken zip archive");
        }
        let (name_length, extra, comment) =
            (short(archive, at + 28)?, short(archive, at + 30)?, short(archive, at + 32)?);
        let name = part(archive, at + 46, usize::from(name_length))?;
        let name = str::from_utf8(name).map_err(|_| "has a file whose name is not UTF-8")?;
        if !name.ends_with('/') {
            let path = SandboxPath::new(name).map_err(|_| "has a file outside of its folder")?;
            let packed = long(archive, at + 20)? as usize;
            data = data.checked_sub(packed).ok_or("is a broken zip archive")?;
            let contents = contents(archive, at, packed, room.min(MOST_OF_ONE))?;
            room -= contents.len() as u64;
            files.push(SourceFile::new(path, contents));
        }
        at += 46 + usize::from(name_length) + usize::from(extra) + usize::from(comment);
    }
    Ok(files)
}

/// What the file holds whose entry of the directory is at `entry`, and which
/// takes so many bytes of the archive.
fn contents(archive: &[u8], entry: usize, packed: usize, most: u64) -> Result<Bytes, &'static str> {
    let (flags, method) = (short(archive, entry + 8)?, short(archive, entry + 10)?);
    let local = long(archive, entry + 42)? as usize;
    if flags & 1 != 0 {
        return Err("has a file with a password");
    }
    if part(archive, local, 4)? != LOCAL {
        return Err("is a broken zip archive");
    }
    let start =
        local + 30 + usize::from(short(archive, local + 26)?) + usize::from(short(archive, local + 28)?);
    let data = part(archive, start, packed)?;
    let mut contents = Vec::new();
    // One more than allowed, so that what is too large is seen.
    let read = match method {
        0 => data.take(most + 1).read_to_end(&mut contents),
        8 => DeflateDecoder::new(data).take(most + 1).read_to_end(&mut contents),
        _ => return Err("has a file that is neither stored nor deflated"),
    };
    read.map_err(|_| "is a broken zip archive")?;
    if contents.len() as u64 > most {
        return Err("has a file that is too large (maximum is 10240 kilobytes)");
    }
    Ok(contents.into())
}

fn part(archive: &[u8], at: usize, length: usize) -> Result<&[u8], &'static str> {
    let end = at.checked_add(length).ok_or("is a broken zip archive")?;
    archive.get(at..end).ok_or("is a broken zip archive")
}

fn short(archive: &[u8], at: usize) -> Result<u16, &'static str> {
    let bytes = part(archive, at, 2)?;
    Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
}

fn long(archive: &[u8], at: usize) -> Result<u32, &'static str> {
    Ok(u32::from(short(archive, at)?) | u32::from(short(archive, at + 2)?) << 16)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    use super::*;

    fn two(number: usize) -> [u8; 2] {
        u16::try_from(number).unwrap().to_le_bytes()
    }

    fn four(number: usize) -> [u8; 4] {
        u32::try_from(number).unwrap().to_le_bytes()
    }

    /// An archive of one deflated file.
    fn archive(name: &str, contents: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(contents).unwrap();
        let data = encoder.finish().unwrap();
        let mut archive = LOCAL.to_vec();
        archive.extend([0; 22]);
        archive.extend(two(name.len()));
        archive.extend([0; 2]);
        archive.extend(name.as_bytes());
        archive.extend(&data);
        let directory = archive.len();
        archive.extend(ENTRY);
        archive.extend([0, 0, 0, 0, 0, 0, 8, 0]);
        archive.extend([0; 8]);
        archive.extend(four(data.len()));
        archive.extend(four(contents.len()));
        archive.extend(two(name.len()));
        archive.extend([0; 16]);
        archive.extend(name.as_bytes());
        archive.extend(END);
        archive.extend([0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0]);
        archive.extend(four(directory));
        archive.extend([0; 2]);
        archive
    }

    #[test]
    fn files_are_unpacked() {
        let files = unpack(&archive("a/b.txt", b"hello")).unwrap();
        assert_eq!(files[0].path.as_ref().unwrap().as_str(), "a/b.txt");
        assert_eq!(files[0].contents, "hello");
    }

    #[test]
    fn hostile_archives_are_refused() {
        for name in ["../x", "/etc/passwd", "a/../../b"] {
            assert!(unpack(&archive(name, b"x")).unwrap_err().contains("outside"), "{name}");
        }
        let bomb = archive("zeros", &vec![0; 11 << 20]);
        assert!(bomb.len() < 1 << 20 && unpack(&bomb).unwrap_err().contains("too large"));
        let good = archive("a", b"some text that is long enough");
        for cut in 0..good.len() {
            // It may be taken for one without files, but never read past its end.
            let _ = unpack(&good[..cut]);
        }
        for at in 0..good.len() {
            let mut broken = good.clone();
            broken[at] ^= 0xff;
            let _ = unpack(&broken);
        }
        assert!(unpack(b"").is_err());
    }
}
