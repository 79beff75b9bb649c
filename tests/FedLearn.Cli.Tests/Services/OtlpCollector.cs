using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace FedLearn.Cli.Tests.Services;

/// <summary>A collector of telemetry that keeps every byte it is sent, over HTTP or gRPC.</summary>
internal sealed class OtlpCollector : IAsyncDisposable
{
    private const int GrpcPrefix = 5;

    private readonly WebApplication _app;

    private OtlpCollector(WebApplication app) => _app = app;

    public Uri Address => new(_app.Urls.First());

    /// <summary>Requests as they came: <c>traces</c> or <c>metrics</c>, and the protobuf message.</summary>
    public ConcurrentQueue<(string Signal, byte[] Body)> Requests { get; } = new();

    public static async Task<OtlpCollector> StartAsync(bool grpc)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = grpc ? HttpProtocols.Http2 : HttpProtocols.Http1));
        WebApplication app = builder.Build();
        var collector = new OtlpCollector(app);
        app.Run(async context =>
        {
            using var body = new MemoryStream();
            await context.Request.Body.CopyToAsync(body);
            string signal = context.Request.Path.Value!.Contains("race", StringComparison.Ordinal) ? "traces" : "metrics";
            collector.Requests.Enqueue((signal, grpc ? body.ToArray()[GrpcPrefix..] : body.ToArray()));
            context.Response.ContentType = grpc ? "application/grpc" : "application/x-protobuf";
            if (!grpc)
                return;
            await context.Response.Body.WriteAsync(new byte[GrpcPrefix]); // an empty message
            context.Response.AppendTrailer("grpc-status", "0");
        });
        await app.StartAsync(TestContext.Current.CancellationToken);
        return collector;
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();
}

/// <summary>Everything that a protobuf message may hold, whatever its schema: each field is looked at as every type that its bytes can be.</summary>
internal static class ProtobufWalk
{
    private const int Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5;

    /// <summary>Fields of a message; null when the bytes are none.</summary>
    public static List<(int Number, int Wire, ulong Value, byte[] Content)>? Fields(byte[] message)
    {
        var fields = new List<(int, int, ulong, byte[])>();
        int at = 0;
        while (at < message.Length)
        {
            if (Read(message, ref at) is not { } tag || tag >> 3 is 0 or > 536_870_911)
                return null;
            int wire = (int)(tag & 7);
            ulong value = 0;
            byte[] content = [];
            switch (wire)
            {
                case Varint when Read(message, ref at) is { } number:
                    value = number;
                    break;
                case Fixed64 when at + 8 <= message.Length:
                    value = BinaryPrimitives.ReadUInt64LittleEndian(message.AsSpan(at));
                    at += 8;
                    break;
                case Fixed32 when at + 4 <= message.Length:
                    value = BinaryPrimitives.ReadUInt32LittleEndian(message.AsSpan(at));
                    at += 4;
                    break;
                case Bytes when Read(message, ref at) is { } length && length <= (ulong)(message.Length - at):
                    content = message[at..(at + (int)length)];
                    at += (int)length;
                    break;
                default:
                    return null;
            }

            fields.Add(((int)(tag >> 3), wire, value, content));
        }

        return fields;
    }

    /// <summary>Texts and numbers of a message, at any depth.</summary>
    public static void Everything(byte[] message, ISet<string> texts, ISet<double> numbers)
    {
        foreach ((_, int wire, ulong value, byte[] content) in Fields(message) ?? [])
        {
            if (wire == Fixed64)
                numbers.Add(BitConverter.UInt64BitsToDouble(value));
            else if (wire == Fixed32)
                numbers.Add(BitConverter.UInt32BitsToSingle((uint)value));
            else if (wire == Varint)
                numbers.Add(value);
            if (wire != Bytes)
                continue;
            texts.Add(Encoding.UTF8.GetString(content));
            if (content.Length % 8 == 0) // a packed list, perhaps
                for (int i = 0; i < content.Length; i += 8)
                    numbers.Add(BinaryPrimitives.ReadDoubleLittleEndian(content.AsSpan(i)));
            Everything(content, texts, numbers);
        }
    }

    /// <summary>Keys and values of attributes, by the paths at which OTLP has them.</summary>
    public static IEnumerable<(string Key, string Value)> Attributes(byte[] request)
    {
        // Of a resource, a scope, a span, its events and links; of the points of each kind of metric, and of their exemplars.
        int[][] paths = [[1, 1, 1], [1, 2, 1, 3], [1, 2, 2, 9], [1, 2, 2, 11, 3], [1, 2, 2, 13, 4], [1, 2, 2, 12], .. from kind in (int[])[5, 7, 9, 10, 11]
                         from field in (int[])[1, 7, 9]
                         select (int[])[1, 2, 2, kind, 1, field], .. from kind in (int[])[5, 7, 9, 10]
                         from exemplar in (int[])[5, 8, 11]
                         select (int[])[1, 2, 2, kind, 1, exemplar, 7]];
        foreach (int[] path in paths)
            foreach (byte[] pair in At(request, path))
                if (Fields(pair) is [{ Number: 1, Wire: Bytes } key, { Number: 2, Wire: Bytes } value] && Fields(value.Content) is [var any])
                    yield return (Encoding.UTF8.GetString(key.Content), any.Wire == Bytes ? Encoding.UTF8.GetString(any.Content) : any.Value.ToString(System.Globalization.CultureInfo.InvariantCulture));
    }

    /// <summary>Names of the spans or metrics of a request.</summary>
    public static IEnumerable<string> Names(byte[] request, string signal) => At(request, 1, 2, 2, signal == "traces" ? 5 : 1).Select(Encoding.UTF8.GetString);

    /// <summary>Points of sums: their attributes by key, and their whole numbers.</summary>
    public static IEnumerable<(string Tags, long Value)> Sums(byte[] request) => At(request, 1, 2, 2, 7, 1).Select(point =>
        (string.Join(' ', At(point, 7).Select(pair => $"{Encoding.UTF8.GetString(At(pair, 1).Single())}={Encoding.UTF8.GetString(At(pair, 2, 1).Single())}").Order(StringComparer.Ordinal)),
            (long)Fields(point)!.Single(f => f is { Number: 6, Wire: Fixed64 }).Value));

    private static IEnumerable<byte[]> At(byte[] message, params int[] path) =>
        path.Aggregate((IEnumerable<byte[]>)[message], (messages, number) => messages.SelectMany(m => Fields(m) ?? []).Where(f => f.Number == number && f.Wire == Bytes).Select(f => f.Content));

    private static ulong? Read(byte[] message, ref int at)
    {
        ulong value = 0;
        for (int shift = 0; shift < 64 && at < message.Length; shift += 7)
        {
            byte part = message[at++];
            value |= (ulong)(part & 0x7F) << shift;
            if (part < 0x80)
                return value;
        }

        return null;
    }
}
