//! Where the database is.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// A directory of its own, in memory where the system has one there, gone when this is dropped.
pub struct Place {
    directory: PathBuf,
    /// How often a process has left its files behind.
    copies: u32,
}

impl Place {
    pub fn new() -> io::Result<Self> {
        static PLACES: AtomicU64 = AtomicU64::new(0);
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        let directory = parent.join(format!("read-model-{}-{number}", std::process::id()));
        // What a killed process of the same id has left there is of no use.
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        Ok(Self {
            directory,
            copies: 0,
        })
    }

    pub fn database(&self) -> PathBuf {
        self.directory.join(format!("{}.db", self.copies))
    }

    pub fn url(&self) -> String {
        format!("sqlite://{}", self.database().display())
    }

    /// Goes on with the files as they are now, whatever is still done to them: what kill -9 leaves.
    pub fn leave_behind(&mut self) -> io::Result<()> {
        let wal = |database: PathBuf| database.with_extension("db-wal");
        let before = self.database();
        self.copies += 1;
        fs::copy(&before, self.database())?;
        match fs::copy(wal(before), wal(self.database())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // At worst a small directory stays.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
