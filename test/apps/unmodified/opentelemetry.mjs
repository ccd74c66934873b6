/** OpenTelemetry with its instrumentation of pg, as its documentation starts it. It prints the names of the spans. */
import { register } from 'node:module'
import { PgInstrumentation } from '@opentelemetry/instrumentation-pg'
import { NodeSDK, tracing } from '@opentelemetry/sdk-node'

register('@opentelemetry/instrumentation/hook.mjs', import.meta.url)
const traceExporter = {
  export(spans, done) {
    for (const { name } of spans) process.stdout.write(`span ${name}\n`)
    done({ code: 0 })
  },
  shutdown: async () => {},
}
new NodeSDK({
  spanProcessors: [new tracing.SimpleSpanProcessor(traceExporter)],
  instrumentations: [new PgInstrumentation({ requireParentSpan: false })],
}).start()
