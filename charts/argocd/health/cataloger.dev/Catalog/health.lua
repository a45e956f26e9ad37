-- What Argo CD makes of a Catalog.
--
-- Degraded: nothing goes on without its author. Suspended: spec.suspend. Progressing: its spec is not done yet.
-- Healthy: there is a catalog of its spec. It stays so while a run is repeated, and when that fails: what Git asks
-- for is there, and the message has the failure.

local status = obj.status
if status == nil or status.conditions == nil then
  return {status = "Progressing", message = "the operator has not looked at it yet"}
end
if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not looked at its last change yet"}
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end
local function holds(name)
  return conditions[name] ~= nil and conditions[name].status == "True"
end
local function says(name)
  local condition = conditions[name]
  if condition == nil then
    return ""
  end
  if condition.message == nil or condition.message == "" then
    return condition.reason or ""
  end
  return condition.message
end

if holds("Stalled") then
  return {status = "Degraded", message = conditions.Stalled.reason .. ": " .. says("Stalled")}
end
if status.phase == "Suspended" then
  local message = "spec.suspend is true"
  if holds("Ready") then
    message = message .. "; " .. says("Ready")
  end
  return {status = "Suspended", message = message}
end
if holds("Reconciling") then
  return {status = "Progressing", message = (status.phase or "Pending") .. ": " .. says("Reconciling")}
end
if holds("Ready") then
  return {status = "Healthy", message = says("Ready")}
end
return {status = "Progressing", message = (status.phase or "Pending") .. ": " .. says("Ready")}
