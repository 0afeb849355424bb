-- The lottery's protocol for Wireshark. docs/protocol.md shows the bytes, docs/wireshark.md the use.
--
-- A message is first read into a list of items (Reader), which stops where bytes are missing or make no sense, and
-- only then shown: what is not yet whole leaves nothing in the tree. Frames are dissected in order once, and then again
-- in any order: `streams`, which keeps what earlier frames have told, must come out the same.

local loteria = Proto("loteria", "Lotería Nacional")

-- Wireshark has Lua 5.1 to 5.4, by version and system. Lua 5.1 has no table.unpack, and a NUL ends its patterns: %z
-- matches one in all of them.
local unpack = table.unpack or unpack

local PORT = 12345
local MAX_NAME = 30 -- bytes in a batch, NUL included
local MAX_BIRTHDATE = 11

local TYPES = {
  [1] = "ENVIO_BATCH",
  [2] = "CONFIRMACION_RECEPCION",
  [3] = "SOLICITUD_GANADORES",
  [4] = "SORTEO_NO_REALIZADO",
  [5] = "RESPUESTA_GANADORES",
  [6] = "CONSULTA_RECIBIDAS",
  [7] = "RECIBIDAS",
}

local CODES = {
  [0] = "success",
  [1] = "invalid bet",
  [2] = "agency unknown",
  [3] = "the agency has already ended, or the draw is done",
  [4] = "storage failed",
  [5] = "the agency is connected elsewhere",
  [6] = "protocol broken",
  [7] = "server is stopping",
}

local f = {
  message = ProtoField.string("loteria.message", "Message"),
  generation = ProtoField.string("loteria.generation", "Generation"),
  type = ProtoField.uint8("loteria.type", "Type", base.DEC, TYPES),
  agency = ProtoField.uint32("loteria.agency", "Agency"),
  count = ProtoField.uint8("loteria.count", "Bets"),
  bet = ProtoField.none("loteria.bet", "Bet"),
  first_name = ProtoField.string("loteria.bet.first_name", "First name"),
  last_name = ProtoField.string("loteria.bet.last_name", "Last name"),
  document = ProtoField.uint32("loteria.bet.document", "Document"),
  birthdate = ProtoField.string("loteria.bet.birthdate", "Birthdate"),
  number = ProtoField.uint32("loteria.bet.number", "Number"),
  code = ProtoField.uint8("loteria.code", "Code", base.DEC, CODES),
  winners = ProtoField.uint32("loteria.winners.count", "Winners"),
  winner = ProtoField.uint32("loteria.winner", "Document"),
  received_bets = ProtoField.uint64("loteria.received.bets", "Bets stored"),
  received_ended = ProtoField.uint8("loteria.received.ended", "Ended", base.DEC, { [0] = "no", [1] = "yes" }),
  received_crc = ProtoField.uint32("loteria.received.crc", "CRC-32 of the rows", base.HEX),
  echo = ProtoField.string("loteria.echo", "Text"),
  undecoded = ProtoField.bytes("loteria.undecoded", "Not decoded"),
}
loteria.fields = f

local function malformed(name, text)
  return ProtoExpert.new("loteria." .. name, text, expert.group.MALFORMED, expert.severity.ERROR)
end

local function invalid(name, text)
  return ProtoExpert.new("loteria." .. name, text, expert.group.PROTOCOL, expert.severity.WARN)
end

local e = {
  unknown_type = malformed("unknown_type", "Unknown type, or the count before it is too small"),
  wrong_direction = malformed("wrong_direction", "Only the other side sends this type"),
  unterminated = malformed("unterminated", "The text is too long or has no NUL"),
  cut_short = malformed("cut_short", "The stream ends inside a message, or its count is too large"),
  surplus = malformed("surplus", "Nothing behind the last message is looked at, or its count is too small"),
  unknown_code = malformed("unknown_code", "Unknown code"),
  agency_zero = invalid("agency_zero", "No agency has the number 0"),
  empty_name = invalid("empty_name", "The name is empty"),
  control = invalid("control", "The name holds a control character"),
  not_utf8 = invalid("not_utf8", "The text is not UTF-8"),
  invalid_date = invalid("invalid_date", "The birthdate is no date YYYY-MM-DD"),
  refused = ProtoExpert.new("loteria.refused", "Refused", expert.group.RESPONSE_CODE, expert.severity.NOTE),
}
loteria.experts = e

-- ---- reading ----

-- Reads on from an offset and gathers items. Raises a table where it cannot go on: {missing = bytes}, or an empty one
-- where no more bytes would help.
local Reader = {}
Reader.__index = Reader

local function new_reader(tvb, at)
  local items = {}
  return setmetatable({ tvb = tvb, start = at, at = at, top = items, items = items, summary = {} }, Reader)
end

function Reader:left()
  return self.tvb:len() - self.at
end

-- For bytes behind which the message goes on: more will be missing than now can be told.
function Reader:need(len)
  if self:left() < len then
    error({ missing = DESEGMENT_ONE_MORE_SEGMENT })
  end
end

-- For the last bytes of a message: exactly the missing ones; Wireshark takes larger numbers for something else.
function Reader:need_last(len)
  local missing = len - self:left()
  if missing > 0 then
    error({ missing = math.min(missing, DESEGMENT_ONE_MORE_SEGMENT) })
  end
end

function Reader:add(field, len, value)
  self:need(len)
  local item = { field = field, range = self.tvb(self.at, len), value = value, defects = {}, items = {} }
  table.insert(self.items, item)
  self.at = self.at + len
  return item
end

local function note(item, defect)
  table.insert(item.defects, defect)
end

local function break_off(item, defect)
  note(item, defect)
  error({})
end

-- An integer that the summary names, too.
function Reader:number(field, len, name)
  local item = self:add(field, len)
  local number = len == 8 and item.range:uint64() or item.range:uint()
  table.insert(self.summary, name .. "=" .. tostring(number))
  return number, item
end

-- A text of `len` bytes, with `before` bytes in front of it and `after` behind it that belong to its form.
function Reader:text(field, before, len, after)
  local item = self:add(field, before + len + after, "")
  if len > 0 then
    local text = item.range(before, len)
    item.value = text:string(ENC_UTF_8)
    -- The conversion replaces whatever is not UTF-8.
    if item.value ~= text:raw() then
      note(item, e.not_utf8)
    end
  end
  return item
end

function Reader:cstr(field, max)
  local window = math.min(self:left(), max)
  local nul = window > 0 and self.tvb:raw(self.at, window):find("\0", 1, true)
  if nul then
    return self:text(field, 0, nul - 1, 1)
  end
  self:need(max)
  break_off(self:text(field, 0, max, 0), e.unterminated)
end

function Reader:pstr(field)
  self:need(1)
  return self:text(field, 1, self.tvb(self.at, 1):uint(), 0)
end

-- What `read` adds goes below one item.
function Reader:group(field, read)
  local outer, start = self.items, self.at
  local item = self:add(field, 0)
  item.range = self.tvb(start)
  self.items = item.items
  read(item)
  item.range = self.tvb(start, self.at - start)
  self.items = outer
end

-- ---- bets ----

-- With its control characters replaced.
local function printable(text)
  return (text:gsub("[%z\1-\31\127]", "?"):gsub("\194[\128-\159]", "?"))
end

local function check_name(item)
  local text = item.value
  if text == "" then
    note(item, e.empty_name)
  elseif text ~= printable(text) then
    note(item, e.control)
  end
end

local function days_in(year, month)
  local leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  local days = { 31, leap and 29 or 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }
  return days[month] or 0
end

local function check_date(item)
  local year, month, day = item.value:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)$")
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  if not year or year < 1 or day < 1 or day > days_in(year, month) then
    note(item, e.invalid_date)
  end
end

local function read_bet(r, item, read_text)
  local first_name = read_text(r, f.first_name, MAX_NAME)
  check_name(first_name)
  local last_name = read_text(r, f.last_name, MAX_NAME)
  check_name(last_name)
  r:add(f.document, 4)
  check_date(read_text(r, f.birthdate, MAX_BIRTHDATE))
  r:add(f.number, 4)
  item.label = ": " .. printable(first_name.value .. " " .. last_name.value)
end

local function read_agency(r)
  local agency, item = r:number(f.agency, 4, "agency")
  if agency == 0 then
    note(item, e.agency_zero)
  end
end

local function read_batch(r)
  read_agency(r)
  local count = r:number(f.count, 1, "count")
  for i = 1, count do
    r:group(f.bet, function(item)
      read_bet(r, item, r.cstr)
      item.label = " " .. i .. item.label
    end)
  end
end

local function read_single(r)
  read_agency(r)
  r:group(f.bet, function(item)
    read_bet(r, item, r.pstr)
  end)
end

-- ---- messages ----

local function read_code(r)
  r:need_last(1)
  local code, item = r:number(f.code, 1, "code")
  if not CODES[code] then
    note(item, e.unknown_code)
  elseif code > 0 then
    note(item, e.refused)
  end
end

local function read_query(r)
  r:need_last(4)
  read_agency(r)
end

local function read_winners(r)
  local count = r:number(f.winners, 4, "count")
  r:need_last(count * 4)
  for _ = 1, count do
    r:add(f.winner, 4)
  end
end

local function read_received(r)
  r:need_last(4 + 8 + 1 + 4)
  read_agency(r)
  r:number(f.received_bets, 8, "bets")
  r:number(f.received_ended, 1, "ended")
  r:add(f.received_crc, 4)
end

local BODIES = {
  client = { [1] = read_batch, [3] = read_query, [6] = read_query },
  server = { [2] = read_code, [4] = function() end, [5] = read_winners, [7] = read_received },
}

local function read_typed(r, side)
  local item = r:add(f.type, 1)
  local kind = item.range:uint()
  r.name = TYPES[kind] or "UNKNOWN"
  local read = BODIES[side][kind]
  if not read then
    table.insert(r.summary, "type=" .. kind)
    break_off(item, TYPES[kind] and e.wrong_direction or e.unknown_type)
  end
  read(r)
end

local function read_result(r)
  r.name = "RESULTADO"
  r.only = true
  read_code(r)
end

-- An echo may end with the stream instead of a line feed: nothing is waited for, text is shown as it comes.
local function read_echo(r)
  r.name = "ECHO"
  local item = r:add(f.echo, r:left())
  item.value = item.range:string(ENC_UTF_8)
end

-- Whether a NUL is among the `window` bytes at `at`, as far as they have come.
local function has_nul(tvb, at, window)
  local len = math.min(window, tvb:len() - at)
  return len > 0 and tvb:raw(at, len):find("\0", 1, true) ~= nil
end

-- "BATCH" or "APUESTA", or nil while it could be both; docs/protocol.md says why this tells them apart.
local function untyped_kind(tvb, at)
  for _ = 1, 2 do
    if at >= tvb:len() then
      return nil
    end
    local len = tvb(at, 1):uint()
    if len == 0 or has_nul(tvb, at + 1, len) then
      return "BATCH"
    end
    at = at + 1 + len
  end
  return at <= tvb:len() and "APUESTA" or nil
end

local function read_untyped(r)
  r.name = "APUESTA or BATCH"
  r.only = true
  local kind = untyped_kind(r.tvb, r.at + 4)
  if not kind then
    r:need(math.huge)
  end
  r.name = kind
  local read = kind == "BATCH" and read_batch or read_single
  read(r)
end

local READERS = {
  typed = { client = function(r) read_typed(r, "client") end, server = function(r) read_typed(r, "server") end },
  untyped = { client = read_untyped, server = read_result },
  echo = { client = read_echo, server = read_echo },
}

-- ---- connections ----

local tcp_stream = Field.new("tcp.stream")
local tcp_fin = Field.new("tcp.flags.fin")
local tcp_reset = Field.new("tcp.flags.reset")

-- By tcp.stream: the `server` port and the `generation`; by side, `last`: the frame behind which nothing is looked at,
-- and `pending`: the message that is not yet whole; by frame, `cut`: the message that the end of the stream cuts short.
local streams = {}

function loteria.init()
  streams = {}
end

-- "Decode as" names a port as the registration does, and both mean the server's.
local function server_port(pinfo)
  local known = pinfo.match == pinfo.src_port or pinfo.match == pinfo.dst_port
  return known and pinfo.match or math.min(pinfo.src_port, pinfo.dst_port)
end

local function stream_of(pinfo)
  local id = tcp_stream().value
  streams[id] = streams[id] or { server = server_port(pinfo), last = {}, pending = {}, cut = {} }
  return streams[id]
end

local function side_of(stream, pinfo)
  return pinfo.dst_port == stream.server and "client" or "server"
end

-- The first byte from the client decides; a capture that lacks it is most likely of a long, typed connection.
local function generation_of(stream, side, tvb)
  if side == "client" and not stream.generation then
    local first = tvb(0, 1):uint()
    stream.generation = first == 0 and "untyped" or first < 0x20 and "typed" or "echo"
  end
  return stream.generation or "typed"
end

-- ---- showing ----

local function show_items(tree, items)
  for _, item in ipairs(items) do
    local node = item.value and tree:add(item.field, item.range, item.value) or tree:add(item.field, item.range)
    node:append_text(item.label or "")
    for _, defect in ipairs(item.defects) do
      node:add_proto_expert_info(defect)
    end
    show_items(node, item.items)
  end
end

-- TCP calls once or more for a frame, and a call may find several messages.
local function list(pinfo, text)
  pinfo.cols.protocol = "LOTERIA"
  if pinfo.private["loteria.listed"] then
    pinfo.cols.info:append(", ")
  else
    pinfo.cols.info:clear()
  end
  pinfo.private["loteria.listed"] = "yes"
  pinfo.cols.info:append(text)
end

local function describe(r)
  return table.concat({ r.name, unpack(r.summary) }, " ")
end

local function show(r, generation, pinfo, tree)
  local text = describe(r) .. (r.state and " [" .. r.state .. "]" or "")
  list(pinfo, text)
  local root = tree:add(loteria, r.tvb(r.start, r.at - r.start), "Lotería Nacional, " .. text)
  root:add(f.generation, generation):set_generated()
  root:add(f.message, r.name):set_generated()
  show_items(root, r.top)
end

-- ---- dissecting ----

-- Returns how many bytes the message lacks; nil for a whole one, and for one that more bytes would not mend.
local function attempt(r, read)
  local whole, stop = pcall(read, r)
  if whole then
    return nil
  elseif type(stop) ~= "table" then
    error(stop, 0)
  end
  r.state = stop.missing and "incomplete" or "malformed"
  r.items = r.top
  if r:left() > 0 then
    r:add(f.undecoded, r:left())
  end
  return stop.missing
end

local function read_surplus(r)
  r.name = "SURPLUS"
  note(r:add(f.undecoded, r:left()), e.surplus)
end

-- Whether nothing behind the message is looked at. TCP hands such a one over together with the rest of its last
-- segment, never in a second call: the number of that frame tells what comes behind.
local function is_last(r)
  return r.only or r.state == "malformed"
end

-- Reads and shows the message at `at`; returns where the next one begins.
local function dissect_message(call, at)
  local r = new_reader(call.tvb, at)
  local missing = attempt(r, call.spent and read_surplus or READERS[call.generation][call.side])
  local waits = missing and call.pinfo.can_desegment > 0
  call.stream.pending[call.side] = waits and describe(r)
  if waits then
    call.pinfo.desegment_offset = at
    call.pinfo.desegment_len = missing
    return call.tvb:len()
  end
  show(r, call.generation, call.pinfo, call.tree)
  call.spent = call.spent or is_last(r)
  return r.at
end

function loteria.dissector(tvb, pinfo, tree)
  local stream = stream_of(pinfo)
  local side = side_of(stream, pinfo)
  local call = { tvb = tvb, pinfo = pinfo, tree = tree, stream = stream, side = side }
  call.generation = generation_of(stream, side, tvb)
  call.spent = pinfo.number > (stream.last[side] or math.huge)
  local at = 0
  while at < tvb:len() do
    at = dissect_message(call, at)
  end
  if call.spent then
    stream.last[side] = stream.last[side] or pinfo.number
  end
  return tvb:len()
end

-- A bare FIN reaches no dissector of TCP's payload, only those that come after all others.
local ending = Proto("loteria_end", "Lotería Nacional, end of a stream")

local function note_end(stream, pinfo)
  local side = side_of(stream, pinfo)
  if not pinfo.visited and (tcp_fin().value or tcp_reset().value) then
    stream.cut[pinfo.number] = stream.pending[side]
    stream.pending[side] = nil
  end
end

function ending.dissector(_, pinfo, tree)
  local id = tcp_stream()
  local stream = id and streams[id.value]
  if not stream then
    return
  end
  note_end(stream, pinfo)
  local cut = stream.cut[pinfo.number]
  if cut then
    list(pinfo, cut .. " [cut short]")
    tree:add(loteria, "Lotería Nacional, " .. cut .. " [cut short]"):add_proto_expert_info(e.cut_short)
  end
end

-- ---- registration ----

DissectorTable.get("tcp.port"):add(PORT, loteria)
register_postdissector(ending)
