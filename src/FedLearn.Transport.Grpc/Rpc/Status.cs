using System.Globalization;
using System.Text;

namespace FedLearn.Transport.Grpc.Rpc;

/// <summary>Status codes of gRPC that occur here.</summary>
internal enum StatusCode
{
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
}

/// <summary>How a call ended.</summary>
/// <param name="Code">Code.</param>
/// <param name="Detail">Sentence, sent as <c>grpc-message</c>.</param>
/// <param name="ErrorId">FLnnnn, sent as <c>fedlearn-error-id</c>; null when there is none.</param>
internal sealed record Status(StatusCode Code, string Detail = "", string? ErrorId = null)
{
    public static readonly Status Ok = new(StatusCode.Ok);
}

/// <summary>A call that cannot go on.</summary>
internal sealed class RpcException(Status status, Exception? inner = null) : Exception(status.Detail, inner)
{
    public RpcException(StatusCode code, string detail, string? errorId = null, Exception? inner = null)
        : this(new Status(code, detail, errorId), inner) { }

    public Status Status { get; } = status;
}

/// <summary>Texts in gRPC headers: percent encoding, and time limits.</summary>
internal static class HeaderText
{
    public const string Status = "grpc-status", Message = "grpc-message", Timeout = "grpc-timeout", Encoding = "grpc-encoding";
    public const string ErrorId = "fedlearn-error-id", Session = "fedlearn-session", Party = "fedlearn-party", Binding = "fedlearn-binding";
    public const string Job = "fedlearn-job", Purpose = "fedlearn-purpose", Terms = "fedlearn-terms", Host = "fedlearn-host", Sections = "fedlearn-sections";
    public const string ContentType = "application/grpc";

    private const int LongestMessage = 1000;

    /// <summary>Percent encoding of grpc-message: UTF-8, with every byte outside space to tilde, and the percent sign, as %XX.</summary>
    public static string Encode(string text)
    {
        var encoded = new StringBuilder(text.Length);
        foreach (byte b in System.Text.Encoding.UTF8.GetBytes(text))
            if (b is >= 0x20 and <= 0x7E and not (byte)'%')
                encoded.Append((char)b);
            else
                encoded.Append(CultureInfo.InvariantCulture, $"%{b:X2}");
        return encoded.ToString();
    }

    /// <summary>Inverse of <see cref="Encode"/>; what is no valid escape stays as it is, as the protocol demands.</summary>
    public static string Decode(string encoded)
    {
        var bytes = new List<byte>(encoded.Length);
        for (int i = 0; i < encoded.Length; i++)
            if (encoded[i] == '%' && i + 2 < encoded.Length && byte.TryParse(encoded.AsSpan(i + 1, 2), NumberStyles.AllowHexSpecifier, null, out byte b))
            {
                bytes.Add(b);
                i += 2;
            }
            else
            {
                bytes.Add(encoded[i] <= 0x7F ? (byte)encoded[i] : (byte)'?');
            }

        return System.Text.Encoding.UTF8.GetString([.. bytes]);
    }

    /// <summary>A text from the other side as it may be shown: without control characters, and not endless.</summary>
    public static string Presentable(string text) =>
        string.Concat(text.Take(LongestMessage).Select(c => char.IsControl(c) ? ' ' : c));

    /// <summary>A grpc-timeout: at most 8 digits and a unit. Rounded up, so that the limit is never shorter than asked.</summary>
    public static string FormatTimeout(TimeSpan time)
    {
        const long most = 99_999_999;
        (long perUnit, char unit)[] units = [(TimeSpan.TicksPerMicrosecond, 'u'), (TimeSpan.TicksPerMillisecond, 'm'), (TimeSpan.TicksPerSecond, 'S'),
            (TimeSpan.TicksPerMinute, 'M'), (TimeSpan.TicksPerHour, 'H')];
        foreach ((long perUnit, char unit) in units)
            if (time.Ticks / perUnit < most)
                return string.Create(CultureInfo.InvariantCulture, $"{Math.Max(1, (time.Ticks + perUnit - 1) / perUnit)}{unit}");
        return $"{most}H";
    }

    /// <summary>Reads a grpc-timeout.</summary>
    /// <returns>Whether it has the right form. A limit beyond a month is read as a month.</returns>
    public static bool TryParseTimeout(string text, out TimeSpan time)
    {
        time = default;
        if (text.Length is < 2 or > 9 || !uint.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, null, out uint count))
            return false;
        double ticks = text[^1] switch
        {
            'n' => 0.01,
            'u' => TimeSpan.TicksPerMicrosecond,
            'm' => TimeSpan.TicksPerMillisecond,
            'S' => TimeSpan.TicksPerSecond,
            'M' => TimeSpan.TicksPerMinute,
            'H' => TimeSpan.TicksPerHour,
            _ => 0,
        };
        time = new TimeSpan((long)Math.Min(Math.Ceiling(count * ticks), TimeSpan.TicksPerDay * 30.0));
        return ticks > 0;
    }

    /// <summary>Whether a text has the form FLnnnn.</summary>
    public static bool IsErrorId(string? text) => text is ['F', 'L', >= '2' and <= '6', ..] && text.Length == 6 && text.AsSpan(3).IndexOfAnyExceptInRange('0', '9') < 0;
}
