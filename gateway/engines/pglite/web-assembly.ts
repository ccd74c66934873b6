/** WebAssembly as Node has it. TypeScript knows it only as a part of browsers. */

export interface WasmMemory {
  /** Another object once the memory has grown. Those before go on showing its beginning. */
  readonly buffer: SharedArrayBuffer
}

export interface WasmGlobal {
  readonly value: number
}

export interface WasmTable {
  get(index: number): unknown
}

export interface WasmInstance {
  readonly exports: unknown
}

interface WebAssemblyApi {
  compile(program: Uint8Array): Promise<object>
  instantiate(module: object, imports: object): Promise<WasmInstance>
  readonly Memory: new (limits: { initial: number; maximum: number; shared: true }) => WasmMemory
}

export const webAssembly: WebAssemblyApi = (
  globalThis as unknown as { WebAssembly: WebAssemblyApi }
).WebAssembly
