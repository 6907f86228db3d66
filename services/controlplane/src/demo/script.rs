//! What is to happen, as `deploy/demo/demo.json` and the files beside it say.

use std::{
    fs,
    path::{Path, PathBuf},
};

use contracts::{
    ids::{StepId, WorkspaceId},
    manifest::SkillManifest,
    plan::{Status, Verdict},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{failure::Failure, skill::read_manifest};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Script {
    #[serde(skip)]
    directory: PathBuf,
    pub workspace_id: WorkspaceId,
    pub publisher: String,
    skills: Vec<PathBuf>,
    worker: WorkerFiles,
    pub intents: Vec<Scene>,
    #[serde(skip)]
    pub manifests: Vec<SkillManifest>,
}

#[derive(Debug, Deserialize)]
struct WorkerFiles {
    program: PathBuf,
    requirements: PathBuf,
}

/// One intent, and how it should go.
#[derive(Debug, Deserialize)]
pub struct Scene {
    file: PathBuf,
    pub title: String,
    pub story: String,
    pub expect: Expectation,
    pub votes: Vec<PlannedVote>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expectation {
    pub status: Status,
    pub verdict: Option<Verdict>,
    pub error_code: Option<String>,
    /// The codes of all findings, in any order.
    pub findings: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub struct PlannedVote {
    pub step: StepId,
    pub vote: Answer,
    pub note: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    Approve,
    Reject,
}

impl Script {
    pub fn read(directory: &Path) -> Result<Self, Failure> {
        let mut script: Self = parsed(&directory.join("demo.json"))?;
        script.directory = directory
            .canonicalize()
            .map_err(|error| Failure::Usage(format!("`{}`: {error}", directory.display())))?;
        for skill in &script.skills {
            script
                .manifests
                .push(read_manifest(&directory.join(skill))?);
        }
        Ok(script)
    }

    /// The names under which the worker serves.
    pub fn entry_points(&self) -> Vec<String> {
        let entry_points = self
            .manifests
            .iter()
            .map(|manifest| &manifest.skill.entry_point);
        entry_points
            .filter_map(|name| name.strip_prefix("nats:"))
            .map(str::to_owned)
            .collect()
    }

    pub fn worker_program(&self) -> PathBuf {
        self.directory.join(&self.worker.program)
    }

    pub fn worker_requirements(&self) -> PathBuf {
        self.directory.join(&self.worker.requirements)
    }

    /// The request of a scene.
    pub fn request(&self, scene: &Scene) -> Result<Map<String, Value>, Failure> {
        parsed(&self.directory.join(&scene.file))
    }
}

fn parsed<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::Usage(format!(
            "cannot read `{}` ({error}): run this in a checkout, or name its `deploy/demo` with \
             `--demo-dir`",
            path.display()
        ))
    })?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::Usage(format!("`{}` cannot be used: {error}", path.display())))
}
