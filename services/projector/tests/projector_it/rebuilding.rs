//! Databases of earlier versions: built anew, never wrong.

use std::path::Path;

use contracts::plan::Mode;
use policy::shipped::default_bundle;
use sqlx::{
    Connection as _, SqlSafeStr as _, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
};

use super::{
    story::echo,
    world::{READER, World},
};

async fn connect(path: &Path) -> SqliteConnection {
    let url = format!("sqlite://{}?mode=rwc", path.display());
    SqliteConnection::connect(&url).await.unwrap()
}

/// As the first version made it, with a row that no event has brought about, and read to the end.
#[tokio::test]
async fn a_database_of_the_first_version_is_read_again_from_the_log() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let id = world.story.submitted(Mode::Assist, &echo()).await;
    let path = world.database();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut first = connect(&path).await;
    let read_model = Migration::new(
        1,
        "read model".into(),
        MigrationType::Simple,
        include_str!("../../migrations/0001_read_model.sql").into_sql_str(),
        false,
    );
    let migrator = Migrator::with_migrations(vec![read_model]);
    migrator.run(&mut first).await.unwrap();
    sqlx::query(
        "INSERT INTO executions (workspace, id, version, status, waiting, created_at, updated_at) \
         VALUES ('acme', '018f0000-0000-7000-8000-000000000000', 1, 'completed', 0, 1, 1)",
    )
    .execute(&mut first)
    .await
    .unwrap();
    for position in world.story.end().await.iter() {
        sqlx::query("INSERT INTO positions (stream, sequence) VALUES (?, ?)")
            .bind(position.stream.name())
            .bind(i64::try_from(position.sequence).unwrap())
            .execute(&mut first)
            .await
            .unwrap();
    }
    first.close().await.unwrap();
    holds_the_log(&world, &id.to_string()).await;
}

async fn holds_the_log(world: &World, id: &str) {
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let end = world.story.end().await;
    let list = caller.ok(&format!("/v1/executions?atLeast={end}")).await;
    assert_eq!(list["total"], 1, "{list}");
    assert_eq!(list["items"][0]["executionId"], id);
    let waiting = caller
        .ok("/v1/executions?waitingFor=approval&skillKey=core.echo")
        .await;
    assert_eq!(waiting["total"], 1);
    projector.stop().await;
}

#[tokio::test]
async fn rows_of_another_projection_are_built_anew() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let id = world
        .story
        .submitted(Mode::Assist, &echo())
        .await
        .to_string();
    holds_the_log(&world, &id).await;
    let mut database = connect(&world.database()).await;
    for change in [
        "UPDATE executions SET waits = 0, status = 'completed'",
        "DELETE FROM execution_skills",
    ] {
        sqlx::query(change).execute(&mut database).await.unwrap();
    }
    sqlx::query("UPDATE projection SET version = version - 1")
        .execute(&mut database)
        .await
        .unwrap();
    database.close().await.unwrap();
    holds_the_log(&world, &id).await;
}
