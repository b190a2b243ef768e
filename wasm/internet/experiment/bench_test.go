package experiment

import "testing"

func BenchmarkExperiment(b *testing.B) {
	for _, x := range []struct {
		name string
		plan settings
	}{
		{"short/none", base()},
		{"short/starttls", base(settings{"security": "starttls"})},
		{"1MB/none", base(settings{"messages": []settings{{"from": "ada@example.org", "to": []string{"grace@example.net"}, "data": long(1 << 20)}}})},
	} {
		b.Run(x.name, func(b *testing.B) {
			inTest(b, func(t *testing.T) {
				plan := planOf(t, x.plan)
				b.ReportAllocs()
				for b.Loop() {
					play(t, plan)
				}
			})
		})
	}
}

// inTest runs f in a test, which a lab needs and a benchmark is not.
func inTest(b *testing.B, f func(*testing.T)) {
	all := func(string, string) (bool, error) { return true, nil }
	ran := false
	once := func(t *testing.T) { // -count is the benchmark's
		if !ran {
			ran = true
			f(t)
		}
	}
	if !testing.RunTests(all, []testing.InternalTest{{Name: b.Name(), F: once}}) {
		b.FailNow()
	}
}
