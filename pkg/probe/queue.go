package probe

import "container/heap"

// queue holds the jobs that wait for their next check, the one that is due
// first in front. It is a [heap.Interface].
type queue []*job

func (q *queue) add(j *job) { heap.Push(q, j) }

func (q *queue) first() *job { return heap.Pop(q).(*job) }

// remove takes j out, if it is there.
func (q *queue) remove(j *job) {
	if j.place >= 0 {
		heap.Remove(q, j.place)
	}
}

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push implements [heap.Interface].
func (q *queue) Push(x any) {
	j := x.(*job)
	j.place = len(*q)
	*q = append(*q, j)
}

// Pop implements [heap.Interface].
func (q *queue) Pop() any {
	last := len(*q) - 1
	j := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	j.place = -1
	return j
}
