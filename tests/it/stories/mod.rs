//! One file a story: what the desk is for, end to end, from the platform to the platform.

mod answered_in_time;
mod asked_the_president;
mod deleted;
mod hostile;
mod listened;
mod restarts;
mod streamed;
mod words;
