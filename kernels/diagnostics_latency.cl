// The latency test: a kernel that does next to nothing, so that its launch is all there is to it.

// Counts launches; one work-item.
kernel void count(global uint *launches)
{
    ++launches[0];
}
