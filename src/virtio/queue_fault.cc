#include "virtio/queue_fault.h"

namespace cupule::virtio {

const char* to_text(QueueFault fault) {
    switch (fault) {
        case QueueFault::none:
            return "no fault";
        case QueueFault::size_not_allowed:
            return "queue size is not allowed";
        case QueueFault::position_not_allowed:
            return "ring position past the queue size";
        case QueueFault::area_misaligned:
            return "ring address is misaligned";
        case QueueFault::area_outside_ram:
            return "ring is not wholly in RAM";
        case QueueFault::available_index_jumped:
            return "available index jumped past the queue size";
        case QueueFault::ring_overrun:
            return "more descriptors available than the queue has";
        case QueueFault::head_out_of_range:
            return "head index past the descriptor table";
        case QueueFault::next_out_of_range:
            return "next index past the descriptor table";
        case QueueFault::chain_loops:
            return "descriptor chain loops";
        case QueueFault::too_many_segments:
            return "descriptor chain has too many buffers";
        case QueueFault::too_many_bytes:
            return "descriptor chain is longer than 4 GiB";
        case QueueFault::zero_length:
            return "descriptor of length zero";
        case QueueFault::buffer_outside_ram:
            return "buffer is not wholly in RAM";
        case QueueFault::readable_after_writable:
            return "readable buffer behind a writable one";
        case QueueFault::indirect_not_negotiated:
            return "indirect descriptor without VIRTIO_F_INDIRECT_DESC";
        case QueueFault::indirect_and_next:
            return "indirect descriptor that has a next one";
        case QueueFault::indirect_nested:
            return "indirect descriptor in an indirect table";
        case QueueFault::indirect_bad_size:
            return "indirect table size is zero or no multiple of 16";
        case QueueFault::indirect_outside_ram:
            return "indirect table is not wholly in RAM";
        case QueueFault::broken_elsewhere:
            return "the ring is broken, says whoever serves it";
        case QueueFault::back_end_lost:
            return "the back end was lost with requests under way";
    }
    return "unknown fault";
}

}  // namespace cupule::virtio
