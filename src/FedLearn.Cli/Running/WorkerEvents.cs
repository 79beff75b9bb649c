using System.Text.Json.Nodes;
using FedLearn.Diagnostics;
using FedLearn.Glm;

namespace FedLearn.Cli.Running;

/// <summary>The lines of JSON a party's child process writes on its standard output, for the process that started it.</summary>
internal static class WorkerEvents
{
    private static readonly Lock Gate = new();

    public static void Listening(Uri address) => Write(new JsonObject { ["event"] = "listening", ["address"] = address.ToString() });

    public static void Log(string text) => Write(new JsonObject { ["event"] = "log", ["text"] = text });

    public static void Progress(GlmProgress p) => Write(new JsonObject
    {
        ["event"] = "progress",
        ["party"] = p.Party,
        ["round"] = p.Round,
        ["rounds"] = p.Rounds,
        ["loss"] = p.Loss is { } loss && double.IsFinite(loss) ? loss : null,
        ["epsilon"] = p.Epsilon,
    });

    public static void Result(JsonObject document) => Write(new JsonObject { ["event"] = "result", ["document"] = document });

    public static void Failure(FedLearnException e) =>
        Write(new JsonObject { ["event"] = "error", ["id"] = e.Id, ["place"] = e.Place, ["cause"] = e.Cause, ["remedy"] = e.Remedy });

    public static GlmProgress ReadProgress(JsonObject line) =>
        new((string)line["party"]!, (int)line["round"]!, (int)line["rounds"]!, (double?)line["loss"], (double?)line["epsilon"]);

    /// <summary>The error a child reported, as this process's own.</summary>
    public static FedLearnException ReadFailure(JsonObject line)
    {
        var (id, place, cause, remedy) = ((string)line["id"]!, (string)line["place"]!, (string)line["cause"]!, (string)line["remedy"]!);
        return new FedLearnException(id, place, cause, remedy);
    }

    private static void Write(JsonObject line)
    {
        lock (Gate)
        {
            Console.Out.WriteLine(line.ToJsonString());
            Console.Out.Flush();
        }
    }
}
