package internet

import "syscall/js"

// settle waits for a microtask. JavaScript runs one only when Go has nothing left
// to run.
func settle() (wait, release func()) {
	queue := js.Global().Get("queueMicrotask")
	idle := make(chan struct{}, 1)
	task := js.FuncOf(func(js.Value, []js.Value) any {
		idle <- struct{}{}
		return nil
	})
	wait = func() {
		queue.Invoke(task)
		<-idle
	}
	return wait, task.Release
}
