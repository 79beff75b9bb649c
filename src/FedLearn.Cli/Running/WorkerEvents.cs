using System.Text.Json;
using System.Text.Json.Nodes;
using FedLearn.Diagnostics;

namespace FedLearn.Cli.Running;

/// <summary>The lines of JSON a party's child process writes on its standard output, for the process that started it.</summary>
internal static class WorkerEvents
{
    private static readonly Lock Gate = new();

    public static void Listening(Uri address) => Write(new JsonObject { ["event"] = "listening", ["address"] = address.ToString() });

    public static void Log(string text) => Write(new JsonObject { ["event"] = "log", ["text"] = text });

    /// <summary>Writes where the job is: the first and the last round, and in between as often as somebody could look. Each line wakes the parent, on processors that the parties need.</summary>
    public static void Progress(JobProgress p)
    {
        long now = Environment.TickCount64, last = Interlocked.Read(ref _lastProgress);
        if (p.Done > 1 && p.Done < p.Of && now - last < ProgressPause)
            return;
        Interlocked.Exchange(ref _lastProgress, now);
        Write(Line(p));
    }

    private const int ProgressPause = 20;
    private static long _lastProgress;

    /// <summary>Makes a line of progress that nobody sees, so that the code is compiled before the first round.</summary>
    public static void Rehearse() => Line(new JobProgress("", "", 0, 1, 0) { Figures = [KeyValuePair.Create("", 0.0)] }).ToJsonString();

    private static JsonObject Line(JobProgress p) => new()
    {
        ["event"] = "progress",
        ["party"] = p.Party,
        ["unit"] = p.Unit,
        ["done"] = p.Done,
        ["of"] = p.Of,
        ["loss"] = ReportParts.Finite(p.Loss),
        ["figures"] = new JsonObject(p.Figures.Where(f => double.IsFinite(f.Value)).Select(f => KeyValuePair.Create(f.Key, (JsonNode?)f.Value))),
    };

    public static void Result(JsonObject document) => Write(new JsonObject { ["event"] = "result", ["document"] = document });

    /// <summary>Says that the order is done and the process waits for the next one.</summary>
    public static void Stays() => Write(new JsonObject { ["event"] = "stays" });

    public static void Failure(FedLearnException e) =>
        Write(new JsonObject { ["event"] = "error", ["id"] = e.Id, ["place"] = e.Place, ["cause"] = e.Cause, ["remedy"] = e.Remedy });

    public static JobProgress ReadProgress(JsonObject line) =>
        new((string)line["party"]!, (string)line["unit"]!, (int)line["done"]!, (int)line["of"]!, (double?)line["loss"])
        {
            Figures = [.. line["figures"]!.AsObject().Select(f => KeyValuePair.Create(f.Key, (double)f.Value!))],
        };

    /// <summary>Reads a line; null for one that a dying child did not finish.</summary>
    public static JsonObject? Read(string line)
    {
        try
        {
            return JsonNode.Parse(line)?.AsObject();
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>The error a child reported, as this process's own.</summary>
    public static FedLearnException ReadFailure(JsonObject line) =>
        new((string)line["id"]!, (string)line["place"]!, (string)line["cause"]!, (string)line["remedy"]!);

    private static void Write(JsonObject line)
    {
        lock (Gate)
        {
            Console.Out.WriteLine(line.ToJsonString());
            Console.Out.Flush();
        }
    }
}
