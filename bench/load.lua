-- wrk sends the requests of a file. Arguments: the file, "cycle" or "once", the number of threads.
-- Lines of the file: "H<TAB>name<TAB>value" (a header of all) and "R<TAB>method<TAB>path<TAB>body in hex".
-- Requests are dealt out to the threads in turn. With "once" each is sent once; a thread that has none left stops
-- and says so. There is no response callback on purpose: it would cost the client more than the rest of its work.

local threads = {}

function setup(thread)
   table.insert(threads, thread)
   thread:set("number", #threads)
   thread:set("dry", 0)
end

local requests, position, once = {}, 0, false

local function bytes(hex)
   return (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

function init(args)
   once = args[2] == "once"
   local total, line_number = tonumber(args[3]), 0
   for line in io.lines(args[1]) do
      local kind, first, second, third = line:match("^(%u)\t([^\t]*)\t([^\t]*)\t?(.*)$")
      if kind == "H" then
         wrk.headers[first] = second
      else
         if line_number % total == number - 1 then
            local body = third ~= "" and bytes(third) or nil
            table.insert(requests, wrk.format(first, second, wrk.headers, body))
         end
         line_number = line_number + 1
      end
   end
end

function request()
   position = position + 1
   if position > #requests then
      if once then
         dry = 1
         wrk.thread:stop()
      end
      position = 1
   end
   return requests[position]
end

function done(summary, latency, _)
   local dried, errors = 0, summary.errors
   for _, thread in ipairs(threads) do dried = dried + thread:get("dry") end
   io.write(string.format(
      '\nRESULT {"requests": %d, "microseconds": %d, "status": %d, "transport": %d, "timeouts": %d, ' ..
      '"p50": %.3f, "p99": %.3f, "dry": %d}\n',
      summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write,
      errors.timeout, latency:percentile(50) / 1000, latency:percentile(99) / 1000, dried))
end
