"use strict";

// The model in the browser: the exported graph in ONNX Runtime Web, on one thread.
//
// The runtime, its WebAssembly and the graph are scripts, each a compressed file in base64: so they
// load from a folder (file:) as well as from any server, and no server has to know their types.
//
//   const network = await Network.load(packed);
//   const output = await network.run(ids);
//   output.probabilities(position)     of each piece of the vocabulary
//   output.attention(layer, head)      rows of the queries, columns of the keys

class Network {
  static async load(packed) {
    const [source, binary, graph] = await Promise.all(
      ["runtime", "wasm", "graph"].map((name) => unpack(packed[name])),
    );
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const ort = await import(url);
    ort.env.wasm.numThreads = 1; // more would need SharedArrayBuffer, which few servers allow
    ort.env.wasm.wasmBinary = binary.buffer;
    return new Network(ort, await ort.InferenceSession.create(graph));
  }

  constructor(ort, session) {
    this.ort = ort;
    this.session = session;
  }

  async run(ids) {
    const shape = [1, ids.length];
    const tensor = (numbers) =>
      new this.ort.Tensor("int64", BigInt64Array.from(numbers, BigInt), shape);
    const inputs = { input_ids: tensor(ids), attention_mask: tensor(ids.map(() => 1)) };
    const { logits, attentions } = await this.session.run(inputs);
    return new Output(logits, attentions);
  }
}

class Output {
  constructor(logits, attentions) {
    this.logits = logits; // (1, seq, vocabulary)
    this.attentions = attentions; // (1, layers, heads, queries, keys)
  }

  probabilities(position) {
    const size = this.logits.dims[2];
    const row = this.logits.data.subarray(position * size, (position + 1) * size);
    const largest = row.reduce((most, logit) => Math.max(most, logit), -Infinity);
    const powers = row.map((logit) => Math.exp(logit - largest));
    const sum = powers.reduce((total, power) => total + power, 0);
    return powers.map((power) => power / sum);
  }

  attention(layer, head) {
    const [, , heads, queries, keys] = this.attentions.dims;
    const first = (layer * heads + head) * queries * keys;
    return Array.from({ length: queries }, (_, query) =>
      this.attentions.data.subarray(first + query * keys, first + (query + 1) * keys),
    );
  }
}

// A file that was compressed with gzip and written in base64.
async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
