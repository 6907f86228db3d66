//! One conformance suite for all logs, then what only a real broker can do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "ids and the time of a test are nobody's input"
)]

#[path = "journal_it/appending.rs"]
mod appending;
#[path = "journal_it/archiver.rs"]
mod archiver;
#[path = "journal_it/archiving.rs"]
mod archiving;
#[path = "journal_it/callers.rs"]
mod callers;
#[path = "journal_it/consuming.rs"]
mod consuming;
#[path = "journal_it/crashes.rs"]
mod crashes;
#[path = "journal_it/following.rs"]
mod following;
#[path = "journal_it/grouping.rs"]
mod grouping;
#[path = "journal_it/permitted.rs"]
mod permitted;
#[path = "journal_it/placing.rs"]
mod placing;
#[path = "journal_it/samples.rs"]
mod samples;
#[path = "journal_it/starting.rs"]
mod starting;
#[path = "journal_it/tiers.rs"]
mod tiers;
#[path = "journal_it/waking.rs"]
mod waking;
#[path = "journal_it/world.rs"]
mod world;

macro_rules! conform {
    ($($cases:tt)+) => {
        each! { $($cases)+ }
        grouped! { $($cases)+ }
    };
}

/// Each case on memory, on one server with one stream and with four, and on three servers.
macro_rules! each {
    ($($module:ident: $($case:ident)+;)+) => {
        mod memory {
            $($(#[tokio::test]
            async fn $case() {
                crate::$module::$case(&crate::world::World::memory(4)).await;
            })+)+
        }

        mod one_stream {
            $($(#[tokio::test]
            async fn $case() {
                crate::$module::$case(&crate::world::World::one_server(1).await).await;
            })+)+
        }

        mod four_streams {
            $($(#[tokio::test]
            async fn $case() {
                crate::$module::$case(&crate::world::World::one_server(4).await).await;
            })+)+
        }

        /// One after the other on one log: three servers take a while to come up.
        #[tokio::test]
        async fn three_servers_conform() {
            let world = world::World::three_servers(4).await;
            $($(
                eprintln!("{}", stringify!($case));
                crate::$module::$case(&world).await;
            )+)+
        }
    };
}

/// What appends, also where every append is fsynced and those of concurrent writers are gathered.
macro_rules! grouped {
    (appending: $($case:ident)+; $($others:tt)*) => {
        mod in_groups {
            $(#[tokio::test]
            async fn $case() {
                let world = crate::world::World::one_server_that_fsyncs(1).await;
                crate::appending::$case(&world).await;
            })+
        }

        #[tokio::test]
        async fn three_servers_that_fsync_conform() {
            let world = world::World::three_servers_that_fsync(4).await;
            $(
                eprintln!("{}", stringify!($case));
                crate::appending::$case(&world).await;
            )+
        }
    };
}

conform! {
    appending:
        of_64_writers_of_one_version_one_wins
        an_append_that_is_repeated_is_recognised_by_its_bytes
        the_same_event_id_of_another_writer_is_a_conflict
        the_same_event_id_in_two_workspaces_is_two_events
        a_first_version_is_refused_where_later_ones_are
        several_events_are_stored_up_to_the_first_that_is_refused
        an_aggregate_of_2000_events_loads
        a_history_is_read_in_pages_of_some_events_and_bytes
        an_unknown_aggregate_is_empty_for_certain
        a_confirmed_read_has_the_last_event
        a_hole_and_a_broken_chain_are_faults
        an_event_of_a_newer_version_is_not_poison
        a_large_payload_is_kept_apart_and_comes_back
        objects_are_kept_under_their_digest;
    archiving:
        an_aggregate_loads_whole_wherever_the_boundary_is
        what_is_nowhere_is_in_no_tier
        pages_go_from_one_tier_to_the_other
        reading_goes_through_both_tiers_and_leaves_nothing_out
        a_tail_begins_in_the_archive_and_goes_on_live
        an_append_on_a_purged_version_is_stored_and_found_out;
    consuming:
        only_the_events_asked_for_are_delivered
        what_is_acknowledged_never_comes_again
        what_is_not_acknowledged_comes_again_after_a_while
        work_in_progress_does_not_come_again
        what_is_given_back_comes_again_after_its_delay
        a_clean_stop_gives_everything_back_at_once
        a_consumer_says_what_it_holds_and_what_is_left
        two_processes_share_the_work
        an_undecodable_message_is_delivered_as_such;
    following:
        reading_goes_on_from_a_position
        what_is_read_and_followed_says_when_the_broker_stored_it
        a_tail_shows_what_was_and_what_comes
        a_stream_that_is_longer_than_what_is_taken_at_once_comes_whole_and_alone
        a_tail_holds_so_many_bytes_and_the_rest_waits_in_the_log
        a_tail_of_one_aggregate_shows_nothing_else
        a_tail_beyond_the_end_is_refused
        a_request_is_answered_by_one_of_those_who_serve;
    waking:
        a_timer_fires_once_and_is_gone_when_acknowledged
        arming_again_replaces
        a_timer_that_is_to_stay_is_not_put_off
        a_timer_of_the_past_fires_at_once
        a_timer_fires_when_so_much_time_has_passed
        a_timer_wakes_only_its_service;
}
