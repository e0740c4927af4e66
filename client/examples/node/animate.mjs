// Animate from Node.js with @grpc/grpc-js: the raw protocol of docs/protocol.md.
//
//   npm install
//   node animate.mjs portrait.png speech.wav out.mp4 [host:port]
//
// beside grpc_service.proto and model_config.proto, which are Triton's: docs/protocol.md says where they are.

import { createWriteStream, readFileSync } from "node:fs"
import { randomUUID } from "node:crypto"
import { fileURLToPath } from "node:url"
import grpc from "@grpc/grpc-js"
import loader from "@grpc/proto-loader"

const [portrait, speech, out, url = "127.0.0.1:8001"] = process.argv.slice(2)
if (!out) {
  console.error("usage: node animate.mjs PORTRAIT SPEECH OUT.MP4 [HOST:PORT]")
  process.exit(2)
}

const proto = fileURLToPath(new URL("grpc_service.proto", import.meta.url))
const { inference } = grpc.loadPackageDefinition(loader.loadSync(proto, { keepCase: true }))
const client = new inference.GRPCInferenceService(url, grpc.credentials.createInsecure(), {
  "grpc.max_send_message_length": -1, // portraits and fragments are often larger than gRPC's 4 MB
  "grpc.max_receive_message_length": -1,
})

// One element of a tensor of BYTES: its length, 4 bytes little-endian, and its content.
function bytes(content) {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(content.length)
  return Buffer.concat([length, content])
}

function int32(value) {
  const content = Buffer.alloc(4)
  content.writeInt32LE(value)
  return content
}

const inputs = [
  ["image", "BYTES", bytes(readFileSync(portrait))],
  ["audio", "BYTES", bytes(readFileSync(speech))],
  ["pose_style", "INT32", int32(3)],
]

const file = createWriteStream(out)
const call = client.ModelStreamInfer()
call.on("data", ({ error_message: error, infer_response: response }) => {
  if (error) {
    console.error(error) // for instance "INVALID_ARGUMENT: pose_style: expected 0 to 45, got 99"
    process.exitCode = 1
    call.cancel()
    return
  }
  if (response.outputs.length) { // the last response has a fragment, too, or no tensors at all
    const tensor = name => response.raw_output_contents[response.outputs.findIndex(output => output.name === name)]
    file.write(tensor("video").subarray(4))
    console.log(`${tensor("frames_done").readInt32LE()} of ${tensor("frames_total").readInt32LE()} frames`)
  }
  if (response.parameters.triton_final_response?.bool_param) file.end()
})
call.on("end", () => client.close())
call.on("error", error => {
  if (error.code !== grpc.status.CANCELLED) console.error(error.message)
  process.exitCode = 1
  client.close()
})

call.write({
  model_name: "sadtalker",
  id: randomUUID(),
  parameters: { triton_enable_empty_final_response: { bool_param: true } },
  inputs: inputs.map(([name, datatype]) => ({ name, datatype, shape: [1, 1] })),
  raw_input_contents: inputs.map(([, , content]) => content),
})
call.end()
