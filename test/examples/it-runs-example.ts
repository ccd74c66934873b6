import { runProgram } from './run-program.js'

/** Every example says the same, whatever its client. */
export function itRunsExample(name: string, environment: NodeJS.ProcessEnv = {}): void {
  it(`runs ${name} against a gateway of its own`, async () => {
    const { exitCode, stdout, stderr } = await runProgram('run.js', [name], { environment })
    expect(stderr).toBe('')
    expect(stdout.replace(/^as app to \w{26}(\.dsql\S+), at 127\.0\.0\.1:\d+$/m, 'as app$1')).toBe(
      [
        'engine: postgres',
        'as app.dsql.us-east-1.on.aws',
        'created table pg_iam_account, unless it was there',
        'wrote two accounts: Ada 100, Ben 0',
        'moved 30 from Ada to Ben in a transaction',
        'read: Ada 70, Ben 30',
        'removed both accounts',
        'closed the pool',
        'physical connections: 1, tokens: 1',
        '',
      ].join('\n'),
    )
    expect(exitCode).toBe(0)
  })
}
