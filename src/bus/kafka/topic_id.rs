//! The id of a topic, for which `rdkafka` has no safe call (`docs/adr/0007-positions-name-the-topics-id.md`).
#![expect(unsafe_code, reason = "librdkafka's DescribeTopics has no safe binding")]

use std::{
    ffi::{CStr, CString},
    ptr,
    time::Duration,
};

use rdkafka::{
    bindings::{self as sys, rd_kafka_admin_op_t, rd_kafka_resp_err_t},
    client::NativeClient,
};

/// What librdkafka made and wants back.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: it came from the call that goes with this destructor, and is destroyed once.
        unsafe { (self.1)(self.0) }
    }
}

/// Wraps a new object; none when librdkafka had no memory for it.
fn owned<T>(made: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Result<Owned<T>, String> {
    if made.is_null() { Err("out of memory".to_owned()) } else { Ok(Owned(made, destroy)) }
}

/// The id that the cluster gave the topic when it was made, asked of one broker. Blocks for up to `within`.
pub(super) fn topic_id(client: &NativeClient, broker: i32, topic: &str, within: Duration) -> Result<String, String> {
    let name = CString::new(topic).map_err(|_nul| "a topic's name has no NUL".to_owned())?;
    let millis = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    let rk = client.ptr();
    let mut names = [name.as_ptr()];
    // SAFETY: `client` keeps `rk` alive; `names` is one C string that outlives the call, which copies it.
    let (queue, options, topics) = unsafe {
        (
            owned(sys::rd_kafka_queue_new(rk), sys::rd_kafka_queue_destroy)?,
            owned(
                sys::rd_kafka_AdminOptions_new(rk, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS),
                sys::rd_kafka_AdminOptions_destroy,
            )?,
            owned(sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1), sys::rd_kafka_TopicCollection_destroy)?,
        )
    };
    // SAFETY: all three are alive; the call copies what it needs of them. The one event that comes to a queue
    // of our own is ours to destroy; no text is asked for why an option is refused.
    let event = unsafe {
        sys::rd_kafka_AdminOptions_set_broker(options.0, broker, ptr::null_mut(), 0);
        sys::rd_kafka_AdminOptions_set_request_timeout(options.0, millis, ptr::null_mut(), 0);
        sys::rd_kafka_DescribeTopics(rk, topics.0, options.0, queue.0);
        sys::rd_kafka_queue_poll(queue.0, millis.saturating_add(1_000))
    };
    let event = owned(event, sys::rd_kafka_event_destroy).map_err(|_null| "the brokers do not answer".to_owned())?;
    // SAFETY: what is read lives in the event, which lives until the end; null is checked for wherever
    // librdkafka may answer with it, and an id and texts are copied.
    unsafe {
        if sys::rd_kafka_event_error(event.0) != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(text(sys::rd_kafka_event_error_string(event.0)));
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event.0);
        if result.is_null() {
            return Err("the brokers answered something else".to_owned());
        }
        let mut count = 0;
        let described = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if count == 0 || described.is_null() {
            return Err("the brokers do not describe it".to_owned());
        }
        let described = *described;
        let error = sys::rd_kafka_TopicDescription_error(described);
        if !error.is_null() && sys::rd_kafka_error_code(error) != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(text(sys::rd_kafka_error_string(error)));
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(described);
        if id.is_null() {
            return Err("the brokers give topics no ids: Kafka 2.8 or later does".to_owned());
        }
        Ok(text(sys::rd_kafka_Uuid_base64str(id)))
    }
}

/// Copies a C string.
///
/// # Safety
/// `pointer` is null or a C string.
unsafe fn text(pointer: *const std::ffi::c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the caller says so.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}
