//! The directory that holds everything of one control plane: private to its owner, used by one
//! process at a time.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File, TryLockError},
    io::{self, ErrorKind, Read as _, Seek as _, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use contracts::ids::WorkspaceId;
use journal::layout::StreamCount;
use serde::{Deserialize, Serialize};

use super::Args;
use crate::{context::write_private, failure::Failure, install::Survives};

/// A first plan to try: the echo that comes with every executor.
const EXAMPLE: &str = r#"{
  "steps": [
    { "id": "hello", "uses": "core.echo/echo", "with": { "message": "hello" } }
  ]
}
"#;

const LOCK: &str = "lock";
const SETTINGS: &str = "settings.json";

/// The identities that `up` made, with their tokens.
pub const CREDENTIALS: &str = "credentials.json";

/// What a first start that was cut off may leave before the settings are written.
const BEFORE_SETTINGS: [&str; 9] = [
    LOCK,
    "secrets",
    "keys",
    "logs",
    "broker",
    "run",
    "examples",
    ".gitignore",
    "settings.part",
];

/// Held for as long as a process uses the directory.
pub struct Directory {
    root: PathBuf,
    /// Released when it is closed, in whatever way the process ends.
    _lock: File,
}

/// What was chosen at the first start and stays so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    pub workspace: WorkspaceId,
    pub streams: u8,
    pub durability: Survives,
    /// The names under which the worker's broker user may serve.
    pub serves: Vec<String>,
    /// Whether stored events are published again.
    #[serde(default)]
    pub republish: bool,
}

impl Directory {
    pub fn open(path: &Path) -> Result<Self, Failure> {
        make_private(path)?;
        let root = path
            .canonicalize()
            .with_context(|| format!("cannot use `{}`", path.display()))?;
        claim(&root)?;
        let lock = lock(&root.join(LOCK))?;
        let directory = Self { root, _lock: lock };
        for part in [
            directory.secrets(),
            directory.keys(),
            directory.logs(),
            directory.broker(),
            directory.run(),
            directory.root.join("examples"),
        ] {
            make_private(&part)?;
        }
        // Addresses of an earlier life would be taken for those of this one.
        remove_addresses(&directory.run()).context("cannot clear `run`")?;
        fs::write(directory.example(), EXAMPLE).context("cannot write the example")?;
        // It may lie in a checkout, and holds secrets.
        match File::create_new(directory.root.join(".gitignore")) {
            Ok(mut file) => file
                .write_all(b"*\n")
                .context("cannot write `.gitignore`")?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(anyhow::Error::new(error)
                    .context("cannot write `.gitignore`")
                    .into());
            }
        }
        Ok(directory)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Passwords of the broker's users.
    pub fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// Private keys of publishers.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub fn log(&self, child: &str) -> PathBuf {
        self.logs().join(format!("{child}.log"))
    }

    /// The broker's configuration and streams.
    pub fn broker(&self) -> PathBuf {
        self.root.join("broker")
    }

    /// Where children write the addresses they took.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Where metrics are, as Prometheus reads it.
    pub fn targets(&self) -> PathBuf {
        self.run().join("prometheus.json")
    }

    pub fn principals(&self) -> PathBuf {
        self.root.join("principals.json")
    }

    pub fn credentials(&self) -> PathBuf {
        self.root.join(CREDENTIALS)
    }

    pub fn context(&self) -> PathBuf {
        self.root.join("context.json")
    }

    pub fn example(&self) -> PathBuf {
        self.root.join("examples").join("hello.json")
    }

    pub fn read_model(&self) -> PathBuf {
        self.root.join("read-model.sqlite")
    }

    fn settings(&self) -> PathBuf {
        self.root.join(SETTINGS)
    }
}

impl Settings {
    /// As they were chosen before, or now; what cannot change any more is refused.
    pub fn settle(directory: &Directory, args: &Args) -> Result<Self, Failure> {
        let file = directory.settings();
        let before: Option<Self> = match fs::read(&file) {
            Ok(bytes) => Some(
                serde_json::from_slice(&bytes)
                    .with_context(|| format!("`{}` cannot be read", file.display()))?,
            ),
            Err(_) => None,
        };
        let mut settings = before.clone().unwrap_or(Self {
            workspace: args
                .workspace
                .clone()
                .map_or_else(|| "demo".parse(), Ok)
                .map_err(|error: contracts::ids::InvalidId| Failure::Usage(error.to_string()))?,
            streams: args.streams.unwrap_or(StreamCount::ONE).get(),
            durability: Survives::Process,
            serves: Vec::new(),
            republish: false,
        });
        let fixed = |name: &str, is: String, wanted: Option<String>| match wanted {
            Some(wanted) if wanted != is => Err(Failure::Usage(format!(
                "`{}` was made with {name} {is}, not {wanted}: leave the option out, or use \
                 another directory with `--data`",
                directory.root.display()
            ))),
            Some(_) | None => Ok(()),
        };
        let streams = args.streams.map(|streams| streams.get().to_string());
        fixed("--streams", settings.streams.to_string(), streams)?;
        let workspace = args.workspace.as_ref().map(ToString::to_string);
        fixed("--workspace", settings.workspace.to_string(), workspace)?;
        if let Some(durability) = args.durability {
            settings.durability = durability;
        }
        if let Some(republish) = args.republish {
            settings.republish = republish.is_on();
        }
        settings.serves.extend(args.serves.iter().cloned());
        settings.serves.sort();
        settings.serves.dedup();
        if before.as_ref() != Some(&settings) {
            let bytes = serde_json::to_vec_pretty(&settings).map_err(anyhow::Error::new)?;
            write_private(&file, &bytes).context("cannot write the settings")?;
        }
        Ok(settings)
    }

    pub fn stream_count(&self) -> Result<StreamCount, Failure> {
        StreamCount::try_new(self.streams).map_err(|error| Failure::Usage(error.to_string()))
    }
}

fn make_private(path: &Path) -> Result<(), Failure> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make `{}`", path.display()))?;
    Ok(())
}

/// Nothing is changed in a directory that is someone else's, or that holds something else.
fn claim(root: &Path) -> Result<(), Failure> {
    let unusable = || format!("cannot use `{}`", root.display());
    let metadata = fs::metadata(root).with_context(unusable)?;
    if metadata.uid() != user() {
        return Err(Failure::Usage(format!(
            "`{}` belongs to another user: name a directory of your own with `--data`",
            root.display()
        )));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(Failure::Usage(format!(
            "others may write to `{root}`: `chmod go-w` it if you know everything in it, or name \
             another directory with `--data`",
            root = root.display()
        )));
    }
    if let Some(stranger) = stranger(root).with_context(unusable)? {
        return Err(Failure::Usage(format!(
            "`{}` holds what no control plane made, such as `{stranger}`: name a new or an empty \
             directory with `--data`",
            root.display()
        )));
    }
    fs::set_permissions(root, fs::Permissions::from_mode(0o700)).with_context(unusable)?;
    Ok(())
}

/// Something in a directory that is not a control plane's; nothing if it is one's, or empty.
fn stranger(root: &Path) -> io::Result<Option<String>> {
    let settings = fs::read(root.join(SETTINGS));
    if settings.is_ok_and(|bytes| serde_json::from_slice::<Settings>(&bytes).is_ok()) {
        return Ok(None);
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(root)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let is_begun = fs::read_to_string(root.join(LOCK))
        .is_ok_and(|holder| holder.bytes().all(|byte| byte.is_ascii_digit()));
    let is_known = |name: &str| is_begun && BEFORE_SETTINGS.contains(&name);
    Ok(names.into_iter().find(|name| !is_known(name)))
}

#[expect(
    unsafe_code,
    reason = "the standard library does not tell who runs this"
)]
fn user() -> u32 {
    // SAFETY: it takes nothing, and always succeeds.
    unsafe { libc::geteuid() }
}

fn remove_addresses(run: &Path) -> io::Result<()> {
    for entry in fs::read_dir(run)? {
        let path = entry?.path();
        let is_ours = |name: &OsStr| name == "address" || name == "ports";
        if path.extension().is_some_and(is_ours) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, Failure> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open `{}`", path.display()))?;
    match file.try_lock() {
        Ok(()) => {
            let told = file
                .set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| write!(file, "{}", std::process::id()));
            told.with_context(|| format!("cannot write `{}`", path.display()))?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            Err(Failure::Unsuccessful(format!(
                "another control plane (process {}) uses `{}`: stop it, or use another directory \
                 with `--data`",
                holder.trim(),
                path.parent().unwrap_or(path).display()
            )))
        }
        Err(TryLockError::Error(error)) => Err(anyhow::Error::new(error)
            .context(format!("cannot lock `{}`", path.display()))
            .into()),
    }
}
