// Reads an AsyncAPI document on the standard input; prints what the official parser finds, as JSON.
import { AvroSchemaParser } from '@asyncapi/avro-schema-parser';
import { Parser } from '@asyncapi/parser';
import { ProtoBuffSchemaParser } from '@asyncapi/protobuf-schema-parser';

const parser = new Parser();
parser.registerSchemaParser(AvroSchemaParser());
parser.registerSchemaParser(ProtoBuffSchemaParser());

let text = '';
for await (const chunk of process.stdin) text += chunk;
const { document, diagnostics } = await parser.parse(text);
console.log(JSON.stringify({
  parsed: document !== undefined,
  channels: document ? document.channels().all().map((channel) => channel.address()) : [],
  messages: document ? document.messages().all().map((message) => message.name()) : [],
  diagnostics: diagnostics.map(({ code, message, path, severity }) => ({ code, message, path, severity })),
}));
