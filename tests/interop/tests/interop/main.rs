//! Whole-relay tests with independent peers. One promise a file; `common` holds the instruments.
//!
//! Files that begin with `harness_` prove the instruments against each other and need no relay.
#![cfg(test)]

mod common;

mod closed_control_stream_closes_session;
mod endless_object_stays_bounded;
mod fetch_asks_the_publisher;
mod fetch_is_answered_byte_for_byte;
mod fetch_is_refused_by_code;
mod goaway_before_the_end;
mod half_open_handshakes_stay_bounded;
mod harness_moq_transport_publishes;
mod harness_moq_transport_subscribes;
mod harness_raw_peer_plays_vectors;
mod joining_fetch_meets_its_subscription;
mod malformed_control_message_closes_only_its_session;
mod malformed_data_closes_only_its_session;
mod moq_transport_has_late_joiners;
mod moq_transport_namespaces_reach_watchers;
mod moq_transport_publishes_datagrams;
mod moq_transport_publishes_streams;
mod moq_transport_subscribes_datagrams;
mod moq_transport_subscribes_streams;
mod namespaces_are_told;
mod publishers_hear_whether_they_are_wanted;
mod ranges_that_lie;
mod raw_publish_flow;
mod second_bidirectional_stream_closes_session;
mod silent_client_times_out;
mod track_status_is_answered;
mod unfinished_stream_header_times_out;
mod unknown_alias_is_dropped;
mod unknown_alpn_is_refused_fast;
mod wrong_setup_is_refused;
