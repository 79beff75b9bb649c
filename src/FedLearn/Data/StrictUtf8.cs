using System.Text;

namespace FedLearn.Data;

/// <summary>UTF-8 that refuses bytes which are none, instead of reading them as another letter.</summary>
internal static class StrictUtf8
{
    /// <summary>The encoding; it throws <see cref="DecoderFallbackException"/>.</summary>
    public static readonly UTF8Encoding Encoding = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
}
